"""The life of a node: listed, added, drained, removed, replaced."""
