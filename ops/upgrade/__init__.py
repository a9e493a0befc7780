"""Upgrades of K3s, of the operating system's packages, of charts and drivers: planned, checked, one node at a time."""
