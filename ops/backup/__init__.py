"""Backups of the cluster: taken, verified, kept away from it, restored."""
