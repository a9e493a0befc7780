"""The `lyceum` command."""
