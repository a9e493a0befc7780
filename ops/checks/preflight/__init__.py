"""Checks of Proxmox before it is changed: cards, memory, disks, VMIDs, drift."""
