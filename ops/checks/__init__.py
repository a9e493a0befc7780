"""What is healthy and what is not: before a run, on Proxmox, and in the cluster."""
