{
# node.sh
alone
# machines e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
members worker gpu-1 gpu-2
healthy_server server-1
healthy_server server-2
healthy_server server-3
node_labels <<'LYCEUM_END_OF_FILE'
apiVersion: v1
kind: Node
metadata:
  name: server-1
  labels:
    topology.rook.io/chassis: pve1
---
apiVersion: v1
kind: Node
metadata:
  name: server-2
  labels:
    topology.rook.io/chassis: pve2
---
apiVersion: v1
kind: Node
metadata:
  name: server-3
  labels:
    topology.rook.io/chassis: pve3
---
apiVersion: v1
kind: Node
metadata:
  name: gpu-1
  labels:
    topology.rook.io/chassis: pve1
    accelerator: nvidia
    gpu-model: a100
    lyceum.io/gpu-model: a100-40gb
    scratch: nvme
    lyceum.io/ceph: 'true'
---
apiVersion: v1
kind: Node
metadata:
  name: gpu-2
  labels:
    topology.rook.io/chassis: pve2
    accelerator: nvidia
    gpu-model: a100
    lyceum.io/gpu-model: a100-40gb
    scratch: nvme
    lyceum.io/ceph: 'true'
LYCEUM_END_OF_FILE
exit
} </dev/null
