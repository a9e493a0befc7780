"""What runs inside a VM of the lab: its boot, its service manager and the commands that Debian would have."""
