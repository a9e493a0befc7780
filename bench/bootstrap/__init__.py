"""Cost of the bootstrap of K3s without K3s itself, beside an Ansible play of the same steps and a minimal script, the floor."""
