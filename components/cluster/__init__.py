"""K3s over SSH. Gives `ClusterAccess` to the layers."""
