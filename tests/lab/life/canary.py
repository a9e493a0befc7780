"""A workload and a Secret that must outlive whatever happens to nodes, and what else must hold afterwards."""

import json
import time
from typing import Any

from config.resource_names import VM_TYPE
from tests.support.project import Project

WORD = "tweet"
SETTLE_SECONDS = 300
"""When a wait is called endless. How fast a busy machine is, is not what these stories are about."""

_POD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "image": "registry.example/canary:1",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
_MARK = {"app": "canary"}


def _object(api: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "canary", "namespace": "canary"}, **rest}


def deploy(campus: Project) -> None:
    """Deploys the canary, with a budget that lets one of its two pods go at a time."""
    template = {"metadata": {"labels": _MARK}, "spec": _POD}
    apply(
        campus,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "canary"}},
        _object("v1", "Secret", stringData={"word": WORD}),
        _object(
            "apps/v1", "Deployment", spec={"replicas": 2, "selector": {"matchLabels": _MARK}, "template": template}
        ),
        _object("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": {"matchLabels": _MARK}}),
    )


def apply(campus: Project, *objects: dict[str, Any]) -> None:
    """Applies objects as the administrator."""
    file = campus.path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
    campus.kubectl("apply", "-f", str(file))


def assert_running(campus: Project) -> None:
    """Asserts that the workload runs and the Secret has its content."""
    try:
        wait_until(lambda: _ready(campus) == 2, "both canaries are Ready")
    except AssertionError as error:
        error.add_note(campus.kubectl("get", "nodes,pods,events", "--namespace=canary", "--output=wide"))
        raise
    word = campus.kubectl("-n", "canary", "get", "secret", "canary", "-o", "jsonpath={.data.word}")
    assert word.strip().endswith("dHdlZXQ="), f"the canary's Secret must survive; it is {word}"


def _ready(campus: Project) -> int:
    (deployment,) = campus.objects("deployments", "--namespace", "canary")
    return int(deployment["status"].get("readyReplicas", 0))


def wait_until(check: Any, what: str, seconds: float = SETTLE_SECONDS) -> None:
    """Waits for something that the cluster brings about by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return
        except (AssertionError, ValueError):
            pass
        time.sleep(2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def wait_until_healthy(campus: Project, what: str) -> None:
    """Waits until `status` says that all is well; the nodes are asked first, as each `status` starts a command and the engine."""
    wait_until(lambda: not _unhealthy_nodes(campus), what)
    wait_until(lambda: campus.status()["healthy"], what)


def _unhealthy_nodes(campus: Project) -> list[str]:
    found = []
    for node in campus.objects("nodes"):
        name = node["metadata"]["name"]
        said = {one["type"]: one["status"] for one in node["status"]["conditions"]}
        if said["Ready"] != "True" or (name.startswith("server") and said.get("EtcdIsVoter") != "True"):
            found.append(name)
    return found


def assert_consistent(campus: Project, *nodes: str, outside: tuple[str, ...] = ()) -> None:
    """Asserts that exactly these nodes exist everywhere: Ready in the cluster, in the state, in Proxmox; servers vote.

    Machines that are `outside` the cluster are in the state and in Proxmox alone.
    """
    # A node whose kubelet was silent for a while is Ready a moment later than the command that mended it ends.
    wait_until(lambda: not _unhealthy_nodes(campus), "every node is Ready, and every server votes")
    found = {node["metadata"]["name"] for node in campus.objects("nodes")}
    assert found == set(nodes), "Kubernetes knows exactly the nodes that there are"
    known = {resource["inputs"]["name"] for resource in campus.state()["resources"] if resource["type"] == VM_TYPE}
    assert known == {*nodes, *outside}, "the engine's state knows exactly the machines that there are"
    assert set(campus.machines()) == {*nodes, *outside}, "Proxmox has exactly the machines that there are"
