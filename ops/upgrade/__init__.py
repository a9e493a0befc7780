"""Upgrades of K3s: servers one by one behind a gate, then agents, the idle ones first."""
