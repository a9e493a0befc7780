"""What happens to a node with GPUs: features are found, the operator's DaemonSets come, the cards are advertised."""
