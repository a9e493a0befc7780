"""How Proxmox VE is asked."""
