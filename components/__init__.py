"""Resources, in layers: hosts -> cluster -> platform -> workspaces. Each knows only what it is handed."""
