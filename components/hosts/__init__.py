"""Proxmox: images and virtual machines. Gives `NodeHandle`s to the cluster."""
