"""The layers between Kubernetes and the workspaces, one module each."""
