"""Labels of nodes, as node feature discovery finds them."""

import json
from collections.abc import Iterator

from lab.controllers.changes import Change, ensure_fields
from lab.controllers.gpu.cards import GPUS
from lab.controllers.snapshot_cache import ClusterCache, annotations, get_path, is_ready, labels, name

PREFIX = "feature.node.kubernetes.io"


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Labels every node once a worker of node feature discovery is ready."""
    workers = [item for item in cache.all("DaemonSet") if name(item).endswith("node-feature-discovery-worker")]
    if not any(is_ready(worker) for worker in workers):
        return
    for node in cache.all("Node"):
        found = {
            f"{PREFIX}/kernel-version.full": get_path(node, "status", "nodeInfo", "kernelVersion", default=""),
            f"{PREFIX}/system-os_release.ID": "ubuntu",
        }
        for device in json.loads(annotations(node).get(GPUS, "[]")):
            found[f"{PREFIX}/pci-{device['vendor']}.present"] = "true"
        gone = {label: None for label in labels(node) if label.startswith(f"{PREFIX}/pci-") and label not in found}
        yield from ensure_fields(node, {"metadata": {"labels": {**gone, **found}}})
