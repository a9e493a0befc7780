"""Everything between Kubernetes and the workspaces: one module a layer, composed in `platform`."""
