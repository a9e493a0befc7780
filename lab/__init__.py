"""The embedded campus: a Proxmox API, SSH hosts, a control plane and a chart mirror on one machine."""
