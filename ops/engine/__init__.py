"""The Pulumi engine on a stack: its state, what an interrupted run left, and the commands that run it."""
