"""K3s's tokens, changed while the cluster runs."""
