"""Labels of a node that follow from the site file. Pure.

K3s gives them to a node that registers for the first time (`node-label`); the layer `node-labels` keeps them on nodes that exist
already, so that a label that a new release adds reaches every cluster.
"""

from config.hosts import Node, Role

GPU_MODEL = "lyceum.io/gpu-model"
"""On each worker: the model of its GPUs as the site file names it (`a100-40gb`), or `NO_GPU`.

`gpu-model` (R23) names the family, which is the same for the 40 GB and the 80 GB card."""
NO_GPU = "none"
HOST_LABEL = "topology.rook.io/chassis"
"""On each node: its Proxmox host. Rook makes a CRUSH bucket of it (OSD topology); nodes are its `host` buckets."""
HOST_DOMAIN = "chassis"
"""CRUSH's type of those buckets."""


def node_labels(node: Node) -> dict[str, str]:
    """Labels that follow from the machine (R23), overridden by those of the site's file."""
    labels = {HOST_LABEL: node.host}
    if node.gpus:
        labels["accelerator"] = "nvidia"
        labels["gpu-model"] = node.gpus[0].card.label
    if node.role is Role.WORKER:
        labels[GPU_MODEL] = node.gpus[0].model if node.gpus else NO_GPU
    if node.shape.scratch:
        labels["scratch"] = "nvme"
    if node.shape.ceph:
        labels["lyceum.io/ceph"] = "true"
    return labels | node.labels
