"""Nodes: listed, added, drained, removed, replaced, restarted; and the VMs and etcd members behind them."""
