"""What the stand-ins know: a snapshot of the cluster's objects, and questions that several of them ask."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
IMAGES = "lab-images"
"""ConfigMap of a campus with real pods: the names of the images that it has, one a line."""


def get_path(node: Object, *keys: str, default: Any = None) -> Any:
    """The value below nested keys, or `default` where one is missing or null."""
    found: Any = node
    for step in keys:
        found = found.get(step) if isinstance(found, dict) else None
    return default if found is None else found


def name(node: Object) -> str:
    """An object's name."""
    return str(node["metadata"]["name"])


def namespace(node: Object) -> str:
    """An object's namespace; empty for one of the whole cluster."""
    return str(node["metadata"].get("namespace") or "")


def uid(node: Object) -> str:
    """An object's identity, which a successor of the same name does not share."""
    return str(node["metadata"].get("uid", ""))


def labels(node: Object) -> dict[str, str]:
    """An object's labels."""
    return dict(node["metadata"].get("labels") or {})


def annotations(node: Object) -> dict[str, str]:
    """An object's annotations."""
    return dict(node["metadata"].get("annotations") or {})


def key(node: Object) -> tuple[str, str]:
    """Namespace and name."""
    return namespace(node), name(node)


@dataclass
class ClusterCache:
    """The cluster as last seen."""

    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    """Kind -> (namespace, name) -> object. A kind that the API does not serve is absent."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind that are not being deleted, in the order of their names."""
        found = self.objects.get(kind, {})
        return [found[at] for at in sorted(found) if "deletionTimestamp" not in found[at]["metadata"]]

    def get(self, kind: str, called: str, within: str = "") -> Object | None:
        """One object, or None."""
        return self.objects.get(kind, {}).get((within, called))

    def serves(self, kind: str) -> bool:
        """Whether the API knows the kind."""
        return kind in self.objects

    def operator(self, **wanted: str) -> Object | None:
        """The running Deployment or DaemonSet whose pods would decide.

        Args:
            wanted: Recommended labels without their prefix: ``name="metallb", component="controller"``.

        Returns:
            None unless it exists and at least one of its pods is ready: what does not run decides nothing. None too where
            the lab has its images: then the real program decides.
        """
        selector = {f"app.kubernetes.io/{label}": value for label, value in wanted.items()}
        for kind in ("Deployment", "DaemonSet"):
            for item in self.all(kind):
                if selector.items() <= labels(item).items() and is_ready(item) and not self.is_real(item):
                    return item
        return None

    def workload(self, kind: str, called: str) -> Object | None:
        """A workload of a name in whatever namespace it was installed, if a pod of it is ready and simulated."""
        found = (item for item in self.all(kind) if name(item) == called and is_ready(item))
        return next((item for item in found if not self.is_real(item)), None)

    def is_real(self, workload: Object) -> bool:
        """Whether the lab has every image of a workload, so that its pods really run."""
        images = self.get("ConfigMap", IMAGES, "kube-system")
        if images is None:
            return False
        known = get_path(images, "data", "images", default="").split("\n")
        pod = get_path(workload, "spec", "template", "spec", default={})
        return all(one.get("image") in known for one in (*pod.get("containers", []), *pod.get("initContainers", [])))


def is_ready(workload: Object) -> bool:
    """Whether at least one pod of a workload is ready."""
    return bool(
        get_path(workload, "status", "readyReplicas", default=0)
        or get_path(workload, "status", "numberReady", default=0)
    )
