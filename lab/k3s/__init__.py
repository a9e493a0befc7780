"""The lab's stand-in for K3s: K3s's own interface over a real etcd and a real Kubernetes control plane.

What is real: etcd (a quorum between servers), kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, the
join protocol's rules (token hash, node passwords, critical settings), snapshots. What is simulated: containers, which
KWOK on every host reports as Running for as long as that host lives.
"""

from lab.k3s.release import checksums, launcher

__all__ = ["checksums", "launcher"]
