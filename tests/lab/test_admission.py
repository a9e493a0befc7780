"""What a real API server says to the work that Lyceum offers, and to its own layers while a webhook is silent."""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml

from components.cluster.k3s_config import admission_configuration
from components.cluster.webhooks import webhook_script
from components.platform import queues
from components.platform import training_runtimes as training
from config import layers
from lab.certificates import ensure_authority, issue
from ops.checks.workloads import workload_problems
from ops.clients.kubernetes import Kube
from tests.support.controlplane import ControlPlane
from tests.support.layers import NAMESPACE, layers_graph
from tests.support.ports import free_ports
from tests.support.sites import site
from toolchain import environment

pytestmark = pytest.mark.lab

Object = dict[str, Any]
REGISTRATION = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the product's admission configuration and the namespaces of every layer."""
    directory = tmp_path_factory.mktemp("admission")
    nfs: Object = {"platform": {"storage": {"nfs": {"server": "nfs.campus.example", "share": "/homes"}}}}
    graph = layers_graph(site(nfs | {"charts": "https://mirror.campus.example/charts"}))
    made = [one.inputs["metadata"] for one in graph.of_type(NAMESPACE)]
    with ControlPlane(directory, pods=False, admission=admission_configuration()) as plane:
        for metadata in made:
            plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for name in ("default", *(metadata["name"] for metadata in made)):
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            plane.eventually(f"{name} has an account", partial(plane.get, account))
        yield plane


class Reader:
    """Lists of the server, as the product's client of a cluster reads them."""

    def __init__(self, server: ControlPlane) -> None:
        self._http = server.http

    def items(self, path: str, **parameters: str) -> list[Object]:
        found: list[Object] = self._http.get(path, params=parameters).json()["items"]
        return found


def offer(server: ControlPlane, namespace: str, spec: Object) -> httpx.Response:
    """What the server answers to a pod, as a dry run."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "offered"}, "spec": spec}
    return server.http.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", json=pod)


def pods_of(framework: str) -> list[Object]:
    jobs = training.RUNTIMES[framework]["template"]["spec"]["replicatedJobs"]
    return [job["template"]["spec"]["template"]["spec"] for job in jobs]


ROOT: Object = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "tensorflow/tensorflow:latest-gpu"}]}
"""A job as people write it: the image's own user is root."""
MODEL: Object = {
    "containers": [
        {
            "name": "kserve-container",
            "image": "kserve/sklearnserver:v0.20.0",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ]
}
"""A pod of KServe's runtime for scikit-learn, version 0.20."""


@pytest.mark.parametrize("framework", list(training.RUNTIMES))
def test_pods_of_a_training_are_admitted_where_the_queue_is(server: ControlPlane, framework: str) -> None:
    for spec in pods_of(framework):
        assert offer(server, "default", spec).status_code == httpx.codes.CREATED


@pytest.mark.parametrize(("namespace", "spec"), [(queues.BATCH, ROOT), ("inference", MODEL), ("inference", ROOT)])
def test_what_does_not_meet_restricted_has_a_namespace_too(server: ControlPlane, namespace: str, spec: Object) -> None:
    assert offer(server, "default", spec).status_code == httpx.codes.FORBIDDEN, "or the test shows nothing"
    assert offer(server, namespace, spec).status_code == httpx.codes.CREATED


def test_while_kueue_is_silent_the_platform_still_gets_its_pods(server: ControlPlane) -> None:
    """Its chart gives the webhook for pods the selector of the controller's configuration, and it fails closed."""
    text = queues.values(site())["managerConfig"]["controllerManagerConfigYaml"]
    webhook = {
        "name": "mpod.kb.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "namespaceSelector": yaml.safe_load(text)["managedJobsNamespaceSelector"],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "clientConfig": {"service": {"name": "kueue-webhook-service", "namespace": "kueue-system"}},
    }
    path = f"{REGISTRATION}/mutatingwebhookconfigurations"
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    server.create(path, {**kind, "metadata": {"name": "kueue"}, "webhooks": [webhook]})
    [spec] = pods_of("torch")
    try:
        server.eventually("the webhook is called", lambda: offer(server, "default", spec).status_code == 500)
        platform = {release.namespace for record in layers.LAYERS for release in record.releases} - {"jupyterhub"}
        answers = {name: offer(server, name, spec).status_code for name in {*platform, "kube-system"}}
    finally:
        server.delete(f"{path}/kueue")
    assert answers == dict.fromkeys(answers, httpx.codes.CREATED)


class Admits(BaseHTTPRequestHandler):
    """A webhook that admits everything."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"uid": request["request"]["uid"], "allowed": True}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to the terminal."""


def test_an_object_is_offered_until_the_webhook_that_checks_it_listens(server: ControlPlane, tmp_path: Path) -> None:
    """MetalLB 0.16.1 is ready before; the object itself would be refused, and the engine does not try again."""
    ensure_authority(tmp_path / "ca.pem", tmp_path / "ca.key", "campus")
    issue((tmp_path / "ca.pem", tmp_path / "ca.key"), ["webhook"], ["127.0.0.1"], tmp_path / "crt", tmp_path / "key")
    [port] = free_ports(1)
    sample = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "webhook-check", "namespace": "default"}}
    webhook = {
        "name": "pool.metallb.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/",
            "caBundle": base64.b64encode((tmp_path / "ca.pem").read_bytes()).decode(),
        },
    }
    path = f"{REGISTRATION}/validatingwebhookconfigurations"
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    server.create(path, {**kind, "metadata": {"name": "metallb"}, "webhooks": [webhook]})
    server.eventually(
        "the object is refused",
        lambda: server.http.post("/api/v1/namespaces/default/configmaps?dryRun=All", json=sample).status_code == 500,
    )
    kubectl = tmp_path / "k3s"
    # Behind `kubectl --server URL`: this server is not at the campus's address.
    kube = f"{environment.binary('kube')} kubectl --kubeconfig {server.kubeconfig}"
    kubectl.write_text(f'#!/bin/bash\nshift 3\nexec {kube} "$@"\n')
    kubectl.chmod(0o755)
    script = webhook_script("metallb", "10.9.0.30", sample).replace("/usr/local/bin/k3s", str(kubectl))
    waiting = subprocess.Popen(["bash", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=3)
        listener = ThreadingHTTPServer(("127.0.0.1", port), Admits)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        _, complaint = waiting.communicate(timeout=60)
        listener.shutdown()
    finally:
        waiting.kill()
        server.delete(f"{path}/metallb")
    assert (waiting.returncode, complaint) == (0, "")


def workload(kind: str, name: str, **metadata: dict[str, str]) -> Object:
    """A workload in `kubeflow-system` whose pod runs as root, where the level is `restricted`."""
    labels = {"app": name}
    pod: Object = {"containers": [{"name": "main", "image": "fetches-packages"}], "restartPolicy": "Never"}
    spec: Object = {"template": {"metadata": {"labels": labels}, "spec": pod}}
    if kind == "Deployment":
        spec |= {"selector": {"matchLabels": labels}}
        pod["restartPolicy"] = "Always"
    group = "apps" if kind == "Deployment" else "batch"
    made = {"name": name, "namespace": "kubeflow-system", **metadata}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": made, "spec": spec}


def test_status_tells_why_a_workload_and_the_job_of_a_hook_have_no_pod(server: ControlPlane) -> None:
    """K1.3: for eleven minutes the hook's Job had no pod, and neither `up` nor `status` said why."""
    hook = {"helm.sh/hook": "post-install"}
    deployment = workload("Deployment", "manager", annotations={"meta.helm.sh/release-name": "kubeflow-trainer"})
    job = workload("Job", "runtimes", annotations=hook, labels={"app.kubernetes.io/instance": "kubeflow-trainer"})
    server.create("/apis/apps/v1/namespaces/kubeflow-system/deployments", deployment)
    server.create("/apis/batch/v1/namespaces/kubeflow-system/jobs", job)

    def told() -> dict[str, str]:
        problems = workload_problems(cast("Kube", Reader(server))).get(("kubeflow-system", "kubeflow-trainer"), [])
        return dict(problem.split(": ", 1) for problem in problems if ": " in problem)

    server.eventually("both are told", lambda: len(told()) == 2)
    assert told().keys() == {"Deployment manager 0/1", "Job runtimes is not done"}
    assert all('violates PodSecurity "restricted:latest"' in why for why in told().values()), told()
