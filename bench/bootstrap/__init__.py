"""What the bootstrap of K3s costs beside K3s itself, against an Ansible play of the same steps and against the floor."""
