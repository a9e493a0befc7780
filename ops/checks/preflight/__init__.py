"""What Proxmox is asked before it is touched: cards, memory, disks, VMIDs, drift."""
