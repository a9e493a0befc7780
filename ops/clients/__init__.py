"""How the commands reach Proxmox, Kubernetes, machines and etcd."""
