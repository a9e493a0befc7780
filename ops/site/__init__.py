"""A campus as a file: written, checked, shown, and prepared for on Proxmox."""
