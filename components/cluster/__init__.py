"""K3s over SSH. Gives `ClusterAccess`."""
