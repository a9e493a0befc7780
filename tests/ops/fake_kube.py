"""The part of a cluster that a decommission uses, in memory, with a K3s that removes members from etcd when asked."""

from typing import Any

import httpx

from ops.nodes.decommission import MEMBER_ANNOTATION, REMOVE_ANNOTATION, REMOVED_ANNOTATION

Object = dict[str, Any]
PDBS = "/apis/policy/v1/poddisruptionbudgets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
JOBS = "/apis/batch/v1/namespaces/rook-ceph/jobs"


class FakeKube:
    """Objects by path. `log` holds every change, in order."""

    def __init__(self, nodes: list[Object], pods: list[Object] | None = None, **lists: list[Object]) -> None:
        self.nodes = {item["metadata"]["name"]: item for item in nodes}
        self.pods = list(pods or ())
        self.osds = lists.get("osds", [])
        self.budgets = lists.get("budgets", [])
        self.jobs: dict[str, Object] = {}
        self.secrets: set[str] = set()
        self.log: list[str] = []
        self.outage = 0
        self.renewals = 0
        self.silent: set[str] = set()

    def find(self, path: str) -> Object | None:
        self._answer()
        name = path.rpartition("/")[2]
        if path.startswith("/api/v1/nodes/"):
            return self.nodes.get(name)
        if path.startswith(JOBS):
            return self.jobs.get(name)
        if path.startswith(LEASES):
            self.renewals += name not in self.silent
            return {"spec": {"renewTime": str(self.renewals)}}
        return {} if name in self.secrets else None

    def get(self, path: str, **_: str) -> Object:
        if path.endswith("/rook-ceph-operator"):
            return {"spec": {"template": {"spec": {"containers": [{"image": "rook"}]}}}}
        found = self.find(path)
        assert found is not None, path
        return found

    def items(self, path: str, **parameters: str) -> list[Object]:
        self._answer()
        if path == "/api/v1/pods":
            wanted = parameters["fieldSelector"].partition("=")[2]
            return [pod for pod in self.pods if pod["spec"]["nodeName"] == wanted]
        if path == JOBS:
            wanted = parameters["labelSelector"].partition("=")[2]
            return [job for job in self.jobs.values() if wanted in job["metadata"]["labels"].values()]
        lists = {"/api/v1/nodes": list(self.nodes.values()), PDBS: self.budgets}
        return self.osds if path.endswith("/deployments") else lists.get(path, [])

    def patch(self, path: str, change: Object) -> Object:
        self._answer()
        name = path.rpartition("/")[2]
        if "/deployments/" in path:
            self.log.append(f"scale {name} to {change['spec']['replicas']}")
            return change
        node = self.nodes[name]
        annotations = node["metadata"]["annotations"]
        noted = change.get("metadata", {}).get("annotations", {})
        for key, value in noted.items():
            annotations[key] = value
            if value is None:
                del annotations[key]
        if "spec" in change:
            self.log.append(f"{'cordon' if change['spec']['unschedulable'] else 'uncordon'} {name}")
            node["spec"] |= change["spec"]
        elif REMOVE_ANNOTATION in noted:
            self.log.append(f"remove {name} from etcd")
            annotations[REMOVED_ANNOTATION] = annotations.pop(MEMBER_ANNOTATION)
        return node

    def delete(self, path: str) -> bool:
        self._answer()
        name = path.partition("?")[0].rpartition("/")[2]
        self.log.append(f"delete {name}")
        self.secrets.discard(name)
        self.jobs.pop(name, None)
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
        self.osds = [osd for osd in self.osds if osd["metadata"]["name"] != name]
        return self.nodes.pop(name, None) is not None

    def post(self, path: str, body: Object) -> httpx.Response:
        self._answer()
        request = httpx.Request("POST", f"https://api{path}")
        name = body["metadata"]["name"]
        if path == JOBS:
            self.log.append(f"create {name}")
            self.jobs[name] = body | {"status": {"succeeded": 1}}
            return httpx.Response(201, request=request)
        held = any(budget["spec"]["selector"]["matchLabels"] == {"app": name} for budget in self.budgets)
        if held:
            return httpx.Response(429, request=request)
        self.log.append(f"evict {name}")
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
        return httpx.Response(201, request=request)

    def _answer(self) -> None:
        if self.outage:
            self.outage -= 1
            raise httpx.ConnectError("the address is moving")


class FakePve:
    """One VM."""

    def __init__(self, name: str = "gpu-1", *, status: str = "running", tags: str = "lyceum;worker") -> None:
        self.vm: Object | None = {"vmid": 141, "name": name, "node": "pve1", "status": status, "tags": tags}
        self.log: list[str] = []

    def call(self, method: str, path: str, **_: str) -> Any:
        if method == "GET":
            return [self.vm] if self.vm else []
        self.log.append(path.rpartition("/")[2])
        if self.vm:
            self.vm["status"] = "stopped"
        return "UPID"
