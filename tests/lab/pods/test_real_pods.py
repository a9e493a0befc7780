"""Pods that really run: on two nodes of one campus, with a server whose node is KWOK's.

The tests share the campus and run in order: what breaks something comes last, and mends it.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import session
from lab.rundir import RunDir
from tests.lab.k3s.machines import Campus, Machine, wait_for
from tests.support.images import ensure_images

pytestmark = pytest.mark.lab

NODES = ("gpu-1", "gpu-2")
BUSYBOX = "docker.io/library/busybox:1.36"
DNS = "docker.io/rancher/mirrored-coredns-coredns:1.14.1"
API = "https://10.21.1.11:6443"
TOKEN = "geheim"
DRIVERS = ("rook-ceph.rbd.csi.ceph.com", "rook-ceph.cephfs.csi.ceph.com", "nfs.csi.k8s.io", "topolvm.io")
FOREVER = "exec sleep 100000"

Object = dict[str, Any]


class Cluster:
    """One server and two workers."""

    def __init__(self, campus: Campus) -> None:
        self.campus = campus
        self.server = Machine(campus, 11, "server-1")
        self.nodes = {name: Machine(campus, 21 + index, name) for index, name in enumerate(NODES)}
        self._start(self.server, "server", **{"cluster-init": True, "disable": ["traefik", "servicelb"]})
        for machine in self.nodes.values():
            self._start(machine, "agent", server=API)
        wait_for("all nodes Ready", lambda: self.server.nodes() == dict.fromkeys(["server-1", *NODES], "True"))

    def _start(self, machine: Machine, role: str, **settings: object) -> None:
        machine.write("/etc/rancher/k3s/config.yaml", yaml.safe_dump({"token": TOKEN, **settings}))
        machine.start(role)
        wait_for(machine.name, machine.up)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run kubectl as the administrator; returns both outputs."""
        command = session.kubectl_command(self.campus.name, words)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def apply(self, *objects: Object) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def run(self, *pods: Object) -> None:
        """Make pods and wait until they are ready."""
        self.apply(*pods)
        for item in pods:
            self.wait(item["metadata"]["name"])

    def wait(self, pod: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=240s")

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def restarts(self, pod: str) -> int:
        count: int = self.get("pod", pod)["status"]["containerStatuses"][0]["restartCount"]
        return count

    def execute(self, pod: str, script: str, *, check: bool = True) -> str:
        return self.kubectl("exec", pod, "--", "sh", "-c", script, check=check).strip()

    def delete(self, *names: str) -> None:
        self.kubectl("delete", "pod", *names, "--wait", "--grace-period=1")

    def events(self, name: str) -> str:
        return self.kubectl(
            "get", "events", f"--field-selector=involvedObject.name={name}", "-o", "custom-columns=M:.message"
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ensure_images(BUSYBOX, DNS)
    campus = Campus(tmp_path_factory.mktemp("home"), real_nodes=NODES)
    try:
        yield Cluster(campus)
    finally:
        campus.close()


def pod(name: str, script: str = FOREVER, node: str = "", *, image: str = BUSYBOX, **fields: Any) -> Object:
    """A pod with one container that runs a script."""
    container = {"name": "main", "image": image, "command": ["sh", "-c", script], **fields.pop("container", {})}
    metadata = {"name": name, "labels": {"app": name, **fields.pop("labels", {})}}
    selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 5, **selector, **fields}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> str:
    """A page on gpu-1, behind a Service of its name; as an ordinary user."""
    page = "id -u; mkdir /tmp/www; echo hello >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(service)
    probe = {"readinessProbe": {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1}}
    cluster.run(pod("web", page, "gpu-1", container=probe, securityContext={"runAsUser": 1000, "runAsNonRoot": True}))
    return "web"


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> str:
    """A shell on gpu-2."""
    cluster.run(pod("client", node="gpu-2"))
    return "client"


# What runs.


def test_a_pod_runs_as_the_user_that_it_names(cluster: Cluster, web: str) -> None:
    assert cluster.kubectl("logs", web).strip() == "1000"


def test_a_privileged_pod_runs_for_an_ordinary_user_too(cluster: Cluster) -> None:
    """Its /sys is to be writable, which the kernel refuses in a user namespace; a DCGM exporter's pod is such a one."""
    cluster.run(pod("privileged", container={"securityContext": {"privileged": True}}))

    assert cluster.execute("privileged", "ls -d /sys/class").strip() == "/sys/class"


def test_commands_run_in_a_pod(cluster: Cluster, web: str) -> None:
    assert "httpd" in cluster.execute(web, "tr '\\0' ' ' </proc/1/cmdline")


def test_a_pod_says_that_it_is_real(cluster: Cluster, web: str) -> None:
    assert cluster.get("pod", web)["metadata"]["labels"]["lab.lyceum/pod"] == "real"


def test_a_pod_of_an_image_that_the_lab_lacks_is_simulated_on_the_same_nodes(cluster: Cluster) -> None:
    cluster.run(pod("other", image="quay.io/example/other:1"))
    found = cluster.get("pod", "other")
    assert found["metadata"]["labels"]["lab.lyceum/pod"] == "simulated"
    assert found["spec"]["nodeName"] in {"server-1", *NODES}


def test_an_image_that_no_registry_has_is_waited_for(cluster: Cluster) -> None:
    cluster.apply(pod("lost", image="quay.io/example/lost:1", labels={"lab.lyceum/pod": "real"}))

    def waits() -> bool:
        states = cluster.get("pod", "lost")["status"].get("containerStatuses", [])
        return bool(states) and states[0]["state"].get("waiting", {}).get("reason") == "ImagePullBackOff"

    wait_for("ImagePullBackOff", waits)
    cluster.delete("lost")


def test_cluster_dns_runs_on_a_real_node_though_others_tolerate_it(cluster: Cluster) -> None:
    shown = cluster.kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "json")
    assert {item["spec"]["nodeName"] for item in json.loads(shown)["items"]} <= set(NODES)


def test_a_node_offers_what_its_machine_has(cluster: Cluster) -> None:
    status = cluster.get("node", "gpu-1")["status"]
    assert status["capacity"]["cpu"] == "4"
    assert status["capacity"]["memory"] == "8Gi"
    assert status["allocatable"]["memory"] == "8092Mi"


def test_a_node_reports_the_release_of_k3s(cluster: Cluster) -> None:
    info = cluster.get("node", "gpu-1")["status"]["nodeInfo"]
    assert info["kubeletVersion"] == "v1.36.3+k3s1"
    assert info["containerRuntimeVersion"].startswith("containerd://")


# What reaches what.


def test_a_service_is_found_by_name_from_another_node(cluster: Cluster, web: str, client: str) -> None:
    ask = f"timeout 2 wget -qO- http://{web}.default.svc.cluster.local"
    wait_for("the Service", lambda: cluster.execute(client, ask, check=False) == "hello", 60)


def test_a_pod_reaches_the_campus_outside_the_cluster(cluster: Cluster, client: str) -> None:
    assert cluster.execute(client, "timeout 5 wget -qO- http://10.21.0.2:5000/v2/") == "{}"


def test_the_api_server_reaches_a_service(cluster: Cluster, web: str) -> None:
    assert cluster.kubectl("get", "--raw", f"/api/v1/namespaces/default/services/{web}:80/proxy/").strip() == "hello"


def test_a_port_is_forwarded(cluster: Cluster, web: str) -> None:
    words = session.kubectl_command(cluster.campus.name, ["port-forward", f"pod/{web}", "18080:8080"])
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as forward:
        try:
            ask = ("curl", "-s", "--max-time", "2", "http://127.0.0.1:18080/")
            wait_for("the forwarded port", lambda: cluster.campus.run(*ask) == "hello\n", 60)
        finally:
            forward.terminate()


# What is counted.


def test_cards_are_consumed(cluster: Cluster) -> None:
    amount = {"lab.example/card": "1"}
    cluster.kubectl(
        "patch",
        "node",
        "gpu-2",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": {"capacity": amount}}),
    )
    wait_for("the card", lambda: "lab.example/card" in cluster.get("node", "gpu-2")["status"]["allocatable"], 60)
    wants = {"resources": {"limits": amount}}
    cluster.run(pod("card", container=wants))
    cluster.apply(pod("next", container=wants), pod("pushed", container=wants, nodeName="gpu-2"))
    wait_for("the kubelet's refusal", lambda: cluster.get("pod", "pushed")["status"]["phase"] == "Failed", 60)
    assert cluster.get("pod", "pushed")["status"]["reason"] == "OutOflab.example/card"
    assert "Insufficient lab.example/card" in cluster.events("next")
    cluster.delete("card", "next", "pushed")


# Volumes.


def volume(driver: str) -> list[Object]:
    """A driver's registration, and a volume and a claim of it."""
    name = driver.replace(".", "-")
    ceph = driver.endswith(".ceph.com")
    registration = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": driver},
        "spec": {"attachRequired": ceph, "fsGroupPolicy": "File"},
    }
    size, modes = {"storage": "1Gi"}, ["ReadWriteOnce" if "rbd" in driver else "ReadWriteMany"]
    csi = {"driver": driver, "volumeHandle": f"pvc-{name}"}
    common = {"storageClassName": "", "accessModes": modes}
    kept = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {**common, "capacity": size, "csi": csi, "persistentVolumeReclaimPolicy": "Retain"},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {**common, "volumeName": name, "resources": {"requests": size}},
    }
    return [registration, kept, claim]


def holder(name: str, node: str, script: str = FOREVER, drivers: tuple[str, ...] = DRIVERS) -> Object:
    """A pod of an ordinary user with a volume of each driver below /volumes."""
    names = {driver: driver.replace(".", "-") for driver in drivers}
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names.values()]
    mounts = [{"name": name, "mountPath": f"/volumes/{driver}"} for driver, name in names.items()]
    user = {"runAsUser": 1000, "fsGroup": 100}
    return pod(name, script, node, container={"volumeMounts": mounts}, volumes=volumes, securityContext=user)


def test_volumes_of_every_driver_go_with_their_pod_to_another_node(cluster: Cluster) -> None:
    cluster.apply(*(item for driver in DRIVERS for item in volume(driver)))
    cluster.run(holder("first", "gpu-1", f"for at in /volumes/*; do echo kept >$at/file; done; {FOREVER}"))
    cluster.delete("first")
    cluster.run(holder("second", "gpu-2"))
    assert cluster.execute("second", "cat /volumes/*/file").split() == ["kept"] * len(DRIVERS)


def test_a_volume_for_one_node_is_not_attached_to_another(cluster: Cluster) -> None:
    cluster.apply(holder("greedy", "gpu-1", drivers=DRIVERS[:1]))
    wait_for("the refusal", lambda: "Multi-Attach error" in cluster.events("greedy"), 60)
    cluster.delete("greedy", "second")


# What breaks.


def test_pods_go_on_while_k3s_restarts(cluster: Cluster, web: str) -> None:
    machine = cluster.nodes["gpu-1"]
    machine.run("systemctl", "restart", "k3s")
    wait_for("K3s", machine.up)
    wait_for("gpu-1 Ready", lambda: cluster.server.nodes()["gpu-1"] == "True")
    assert "httpd" in cluster.execute(web, "tr '\\0' ' ' </proc/1/cmdline")
    assert cluster.restarts(web) == 0


def test_a_frozen_machine_stops_its_pods_too(cluster: Cluster) -> None:
    driver = DRIVERS[1]
    tick = f"while true; do echo tick >>/volumes/{driver}/ticks; sleep 0.1; done"
    cluster.run(holder("clock", "gpu-2", tick, (driver,)))
    file = RunDir.of(cluster.campus.name).path / f"volumes/pvc-{driver.replace('.', '-')}/ticks"
    vmid = cluster.nodes["gpu-2"].vmid
    wait_for("the clock", file.exists)
    cluster.campus.ask("freeze", vmid=vmid)
    before = file.stat().st_size
    time.sleep(1)
    assert file.stat().st_size == before
    cluster.campus.ask("thaw", vmid=vmid)
    wait_for("the clock to go on", lambda: file.stat().st_size > before)
    cluster.delete("clock")


def test_a_drain_lets_pods_end_in_order(cluster: Cluster) -> None:
    driver = DRIVERS[1]
    last_words = f"trap 'sleep 1; echo bye >/volumes/{driver}/bye; exit 0' TERM; while true; do sleep 0.1; done"
    cluster.run(holder("drained", "gpu-2", last_words, (driver,)))
    cluster.kubectl("drain", "gpu-2", "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
    cluster.kubectl("uncordon", "gpu-2")
    assert (RunDir.of(cluster.campus.name).path / f"volumes/pvc-{driver.replace('.', '-')}/bye").exists()


def test_pods_come_back_after_a_power_failure(cluster: Cluster, web: str) -> None:
    machine = cluster.nodes["gpu-1"]
    cluster.campus.ask("power_fail", vmid=machine.vmid)
    machine.power_on()
    machine.start("agent")
    wait_for("the pod's second life", lambda: cluster.restarts(web) == 1)
    cluster.wait(web)


def test_nothing_is_left(cluster: Cluster) -> None:
    run = RunDir.of(cluster.campus.name).path
    cluster.campus.close()
    assert not run.exists()
    assert str(run) not in Path("/proc/mounts").read_text()
    assert not list(Path("/sys/fs/cgroup").glob("*/k8s.io"))
    lines = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout.splitlines()
    assert not [line for line in lines if str(run) in line]
