"""What the boards ask for, held against those who export it: the real program where it can run, else its sources."""

import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from components.platform import gpus
from tests.contracts.upstream import FOLDER, needs_upstream
from tests.metrics.evaluation import exporters, own_labels, parse_labels
from tests.support.controlplane import ControlPlane
from tests.support.ports import free_ports
from tests.support.programs import install
from toolchain import environment

DCGM = FOLDER / "dcgm-exporter" / "dcp-metrics-included.csv"
NVML_ONLY = {"DCGM_FI_DEV_PCIE_RX_THROUGHPUT", "DCGM_FI_DEV_PCIE_TX_THROUGHPUT"}
"""Fields of DCGM that the exporter gives only when its list names them."""


def fields_of(text: str) -> dict[str, str]:
    """Field -> gauge, counter or label, from the exporter's list."""
    rows = [line.split(",") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name.strip(): kind.strip() for name, kind, *_ in rows}


@needs_upstream
def test_the_dcgm_exporter_gives_what_it_gives_by_itself_and_pcie_of_geforce_cards() -> None:
    ours, theirs = fields_of(gpus.exported_fields()), fields_of(DCGM.read_text())

    assert ours.keys() - theirs.keys() == NVML_ONLY
    assert {name: kind for name, kind in ours.items() if name not in NVML_ONLY and theirs[name] != kind} == {}


def test_the_dcgm_exporters_list_has_three_columns() -> None:
    """The exporter refuses its whole list for one line with another comma."""
    assert {line.count(",") for line in gpus.exported_fields().splitlines()} == {2}


def test_every_metric_of_a_card_is_in_the_exporters_list() -> None:
    assert set(exporters()["dcgm-exporter"]["metrics"]) <= fields_of(gpus.exported_fields()).keys()


def read_metrics(url: str) -> list[str]:
    """The samples of an address, waiting until it answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return [line for line in httpx.get(url).text.splitlines() if line and not line.startswith("#")]
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane"), pods=False) as plane:
        yield plane


def out_of_memory(restart: str) -> dict[str, object]:
    """A pod of one container with a GPU."""
    container = {"name": "main", "image": "demo:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    return {"nodeName": "gpu-1", "restartPolicy": restart, "containers": [container]}


@pytest.fixture(scope="module")
def state_metrics(plane: ControlPlane) -> Iterator[list[str]]:
    """What kube-state-metrics says of a node, a claim, a notebook and a job's pod, both ended for lack of memory."""
    install("kube-state-metrics")
    plane.node("gpu-1")
    plane.http.patch(
        "/api/v1/nodes/gpu-1/status",
        json={"status": {"allocatable": {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": "7"}}},
        headers={"Content-Type": "application/merge-patch+json"},
    ).raise_for_status()
    plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}})
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "nfs-client",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    plane.create(
        "/api/v1/namespaces/ml/persistentvolumeclaims",
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home"}, "spec": claim},
    )
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-27T12:00:00Z"}}
    running = {"running": {"startedAt": "2026-11-27T12:00:00Z"}}
    for name, restart, phase, state, last in (
        ("notebook", "OnFailure", "Running", running, ended),
        ("job", "Never", "Failed", ended, {}),
    ):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": out_of_memory(restart)}
        plane.create("/api/v1/namespaces/ml/pods", pod)
        status = {
            "name": "main", "image": "demo:1", "imageID": "demo", "ready": False, "restartCount": 1, "state": state,
            "lastState": last,
        }  # fmt: skip
        plane.http.patch(
            f"/api/v1/namespaces/ml/pods/{name}/status",
            json={"status": {"phase": phase, "containerStatuses": [status]}},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()
    port, telemetry = free_ports(2)
    command = [str(environment.binary("kube-state-metrics")), f"--kubeconfig={plane.kubeconfig}", "--host=127.0.0.1"]
    command += [f"--port={port}", "--telemetry-host=127.0.0.1", f"--telemetry-port={telemetry}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/metrics"
            # Each kind is listed by itself.
            signs = ('pod="job"', "kube_node_status_condition{")
            plane.eventually("pods and nodes are listed", lambda: all(sign in str(read_metrics(url)) for sign in signs))
            yield read_metrics(url)
        finally:
            process.terminate()


@pytest.mark.lab
@pytest.mark.parametrize("metric", exporters()["kube-state-metrics"]["metrics"])
def test_kube_state_metrics_gives_the_metric_with_exactly_these_labels(metric: str, state_metrics: list[str]) -> None:
    found = [set(parse_labels(line)) for line in state_metrics if line.partition("{")[0] == metric]

    assert found, f"{metric} is not among what the real program gives"
    assert all(labels == own_labels(metric).keys() for labels in found), found[0]


@pytest.mark.lab
def test_kube_state_metrics_names_resources_and_reasons_as_the_queries_do(state_metrics: list[str]) -> None:
    text = "\n".join(state_metrics)

    for part in ('resource="nvidia_com_gpu"', 'resource="nvidia_com_mig_1g_5gb"', 'reason="OOMKilled"'):
        assert part in text
    assert 'storageclass="nfs-client"' in text


@pytest.mark.lab
@pytest.mark.parametrize("metric", [name for name in exporters()["etcd"]["metrics"] if name != "up"])
def test_the_embedded_etcd_gives_the_metric_without_labels(metric: str, plane: ControlPlane) -> None:
    lines = read_metrics(f"{plane.etcd}/metrics")

    assert [line for line in lines if line.split(" ")[0] == metric], f"{metric} is not among what etcd gives"
