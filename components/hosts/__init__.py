"""Proxmox: images and virtual machines. Gives `Machine` handles."""
