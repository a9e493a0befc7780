"""A real Kubernetes control plane on loopback for tests: etcd, API server, controller manager, scheduler, KWOK.

    with ControlPlane(directory) as cluster:
        cluster.get("/api/v1/nodes")

Nodes are made by the test (`ControlPlane.node`); KWOK keeps them and their pods alive. Everything dies with the
test's process, however that ends.
"""

import contextlib
import ctypes
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.k3s.kwok import build_configuration
from tests.support.ports import free_ports
from tests.support.started import Started
from toolchain import environment

Object = dict[str, Any]

TOKEN = "admin-of-a-test-cluster"
START_SECONDS = 240
"""Longest wait for the API server; it takes three to five seconds on two free cores."""

_PR_SET_PDEATHSIG = 1
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_libc = ctypes.CDLL(None)


def _kwok_for_all_nodes() -> str:
    """The lab's KWOK configuration of one host, widened to every node."""
    documents = list(yaml.safe_load_all(build_configuration("every")))
    for document in documents:
        if document["kind"] == "KwokConfiguration":
            document["options"] |= {"manageSingleNode": "", "manageAllNodes": True}
    return yaml.safe_dump_all(documents)


class ControlPlane(Started):
    """One control plane; a context manager.

    Args:
        directory: Where its files and logs go.
        pods: Also run the scheduler and KWOK, so that pods of `node`s become ready.
        admission: Admission configuration (YAML) of the API server, which then calls webhooks too; else none is called.
    """

    def __init__(self, directory: Path, *, pods: bool = True, admission: str = "") -> None:
        self._dir = directory
        self._pods = pods
        self._admission = admission
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client: httpx.Client | None = None
        self.kubeconfig = directory / "kubeconfig"
        """Of a cluster administrator."""
        self.etcd = ""
        """Address of etcd, which also serves its metrics."""

    @property
    def http(self) -> httpx.Client:
        """A client with an administrator's rights."""
        assert self._client is not None, "the control plane runs only inside its `with`"
        return self._client

    def get(self, path: str) -> Object:
        """An object, or a list's body."""
        answer = self.http.get(path)
        answer.raise_for_status()
        body: Object = answer.json()
        return body

    def create(self, path: str, body: Object) -> Object:
        """Creates an object in a collection."""
        answer = self.http.post(path, json=body)
        assert answer.is_success, f"{body['kind']} {body['metadata']}: {answer.text}"
        made: Object = answer.json()
        return made

    def patch(self, path: str, body: Object) -> Object:
        """Merges fields into an object."""
        answer = self.http.patch(path, json=body, headers={"Content-Type": "application/merge-patch+json"})
        assert answer.is_success, answer.text
        changed: Object = answer.json()
        return changed

    def delete(self, path: str) -> None:
        """Deletes an object; one that is gone already is fine."""
        answer = self.http.delete(path)
        assert answer.is_success or answer.status_code == httpx.codes.NOT_FOUND, answer.text

    def node(self, name: str, **metadata: dict[str, str]) -> None:
        """Registers a node with plenty of room, for KWOK to keep."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **metadata.get("labels", {})}
        room = {"cpu": "64", "memory": "256Gi", "pods": "250"}
        spec = {
            "metadata": {"name": name, **metadata, "labels": labels},
            "status": {"capacity": room, "allocatable": room},
        }
        self.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **spec})

    def eventually(self, what: str, check: Callable[[], Any], timeout: float = 240) -> Any:
        """Asks until the answer is truthy, and returns it; a missing object counts as no answer.

        Raises:
            AssertionError: The time is up; says `what` did not come true.
        """
        deadline = time.monotonic() + timeout
        while True:
            found: Any = None
            with contextlib.suppress(httpx.HTTPStatusError, KeyError):
                found = check()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
            time.sleep(0.1)

    def define(self, *definitions: Object) -> None:
        """Creates CustomResourceDefinitions and waits until their objects are served: a moment later, not at once."""
        for name in [self.create(_DEFINITIONS, item)["metadata"]["name"] for item in definitions]:
            self.eventually(f"{name} is served", partial(self._established, name))

    def _established(self, name: str) -> bool:
        conditions = self.get(f"{_DEFINITIONS}/{name}").get("status", {}).get("conditions", [])
        return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)

    def restart_apiserver(self, *, down: float = 1.0) -> None:
        """Kills the API server and starts it again after `down` seconds."""
        process = next(item for item in self._processes if "kube-apiserver" in item.args)  # type: ignore[operator]
        process.kill()
        process.wait()
        self._processes.remove(process)
        time.sleep(down)
        self._run(self._apiserver)
        self._wait_ready()

    def _start(self) -> None:
        etcd, peer, self._port = free_ports(3)
        self.etcd = f"http://127.0.0.1:{etcd}"
        self._dir.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self._dir / "sa.key").write_bytes(pem)
        (self._dir / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        self._run(
            [
                "etcd",
                f"--data-dir={self._dir / 'etcd'}",
                f"--listen-client-urls={self.etcd}",
                f"--advertise-client-urls={self.etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            ]
        )
        self._apiserver = [
            "kube-apiserver",
            f"--etcd-servers={self.etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self._dir / 'certs'}",
            f"--token-auth-file={self._dir / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._dir / 'sa.key'}",
            f"--service-account-signing-key-file={self._dir / 'sa.key'}",
            "--service-cluster-ip-range=10.43.0.0/16",
            *self._admission_flags(),
        ]
        self._run(self._apiserver)
        self._wait_ready()
        access = f"--kubeconfig={self.kubeconfig}"
        if self._pods:
            config = self._dir / "kwok.yaml"
            config.write_text(_kwok_for_all_nodes())
            self._run([access, f"--config={config}"], program="kwok")
            self._run(["kube-scheduler", access, "--secure-port=0", "--leader-elect=false"])
        self._run(
            [
                "kube-controller-manager",
                access,
                "--secure-port=0",
                "--leader-elect=false",
                f"--service-account-private-key-file={self._dir / 'sa.key'}",
            ]
        )

    def _admission_flags(self) -> list[str]:
        if not self._admission:
            # As in a lab without real pods: no webhook's server runs.
            return ["--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook"]
        file = self._dir / "admission.yaml"
        file.write_text(self._admission)
        return [f"--admission-control-config-file={file}", "--enable-admission-plugins=EventRateLimit"]

    def _run(self, command: Sequence[str], program: str = "kube") -> None:
        def die_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        name = command[0] if program == "kube" else program
        with (self._dir / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [environment.binary(program), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        self._processes.append(process)

    def _wait_ready(self) -> None:
        authority = self._dir / "certs" / "apiserver.crt"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = [item.args for item in self._processes if item.poll() is not None]
            assert not ended, f"ended by itself: {ended}; its log is in {self._dir}"
            with contextlib.suppress(httpx.HTTPError, OSError, ssl.SSLError):
                if self._client is None:
                    tls = ssl.create_default_context(cafile=str(authority))
                    headers = {"Authorization": f"Bearer {TOKEN}"}
                    self._client = httpx.Client(
                        base_url=f"https://127.0.0.1:{self._port}", verify=tls, headers=headers, timeout=10
                    )
                    self.kubeconfig.write_text(self._kubeconfig(authority))
                if self._client.get("/readyz").is_success:
                    return
            time.sleep(0.1)
        raise AssertionError(f"no API server within {START_SECONDS} s; its log is {self._dir / 'kube-apiserver.log'}")

    def _kubeconfig(self, authority: Path) -> str:
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        return yaml.safe_dump(config)

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
