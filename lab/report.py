"""What a campus reports about itself."""

import datetime as dt
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab import identity
from lab.contracts import LabSpec
from lab.host import syscalls
from lab.host.faults import list_processes
from lab.host.hypervisor import NamespaceHypervisor, RunningVm
from lab.network import MIRROR_PORT, PVE_PORT
from lab.real_pods import RealPods
from lab.rundir import RunDir

K3S_KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
SHIM = "containerd-shim"
"""Each real pod has one."""

PARTS = (
    ("Pulumi engine, providers", "real", "they run in the campus's network, as you"),
    ("Proxmox VE API", "simulated", "stateful, TLS 1.3, privileges, tasks, locks; unknown calls answer 501"),
    (
        "VMs",
        "simulated",
        "namespaces on this machine's kernel, with disks of their own; OpenSSH, sudo and users are real",
    ),
    ("systemd in VMs", "simulated", "own PID 1: unit files, systemctl and journalctl as far as a node needs them"),
    ("K3s", "stand-in", "K3s's interface around real etcd, kube-apiserver, controller-manager and scheduler"),
    ("kubelet, pods", "simulated", "KWOK: pods become Ready and do nothing"),
    (
        "admission webhooks",
        "switched off",
        "their servers are pods, which do not run; what they would reject is accepted",
    ),
    ("charts, images", "stand-ins", "same names, versions, CRDs and workloads; real archives with --charts DIR"),
    (
        "object store (S3)",
        "stand-in",
        "moto: S3's requests, signatures and rights over the campus's TLS; objects end with the lab",
    ),
    (
        "identity provider, directory",
        "real",
        "oidc-provider and OpenLDAP over the campus's TLS, where the site's issuer is below its domain; the people are the lab's",
    ),
    (
        "operators",
        "stand-ins",
        "addresses, certificates, volumes, GPU capacity: small controllers make the same decisions",
    ),
    ("monitoring", "stand-in", "workloads of the same names; nothing is measured"),
    ("GPUs", "simulated", "PCI devices in the API and in the VM; they compute nothing"),
)
"""Part, how real it is, what that means. `lab status` and the documentation say the same."""

MEASURED = (
    "Prometheus, its operator, Alertmanager and kube-state-metrics; Grafana and node-exporter stand in, and the DCGM "
    "exporter says the same of every card"
)

Part = tuple[str, str, str]


def describe_parts(pods: RealPods | None, lacking: Sequence[str]) -> list[Part]:
    """The parts of this campus.

    Args:
        pods: Its real pods, if there are any.
        lacking: What this machine lacks for those that were asked for.
    """
    known: dict[str, tuple[str, str]] = {}
    if lacking:
        missing = f"KWOK: pods become Ready and do nothing; for real ones this machine lacks {', '.join(lacking)}"
        known["kubelet, pods"] = ("simulated", missing)
    elif pods:
        rule = (
            f"there run pods that need only the lab's {len(pods.images)} images (label lab.lyceum/pod=real), without "
            "cgroups: no limit is enforced. All others are KWOK's: they become Ready and do nothing"
        )
        known["kubelet, pods"] = (f"real on {', '.join(pods.nodes)}", rule)
        known["admission webhooks"] = ("real", "the API servers ask them; their servers are pods")
        known |= _describe_controllers(pods)
        known["monitoring"] = ("real", MEASURED)
    return [(part, *known.get(part, (how, means))) for part, how, means in PARTS]


CONTROLLERS = {
    "registry.k8s.io/kueue/kueue": "Kueue",
    "quay.io/jetstack/cert-manager-controller": "cert-manager",
    "quay.io/metallb/controller": "MetalLB",
    "registry.k8s.io/jobset/jobset": "JobSet",
    "ghcr.io/kubeflow/trainer/trainer-controller-manager": "Trainer",
    "registry.k8s.io/ingress-nginx/controller": "ingress-nginx (by Traefik, with its provider for ingress-nginx)",
}
"""Image, without its tag -> the controller that it is."""


def _describe_controllers(pods: RealPods) -> dict[str, tuple[str, str]]:
    repositories = {image.partition("@")[0].rpartition(":")[0] for image in pods.images}
    real = [name for repository, name in CONTROLLERS.items() if repository in repositories]
    if not real:
        return {}
    return {
        "charts, images": (
            "some real",
            "charts of Kueue, cert-manager, MetalLB and Trainer from their Go modules; else stand-ins, or --charts DIR",
        ),
        "operators": (
            "some real",
            f"{', '.join(real)}; stand-ins for Ceph, the GPU Operator and provisioners of volumes",
        ),
    }


class Report:
    """Facts that stay, and the state that changes."""

    def __init__(
        self,
        run: RunDir,
        spec: LabSpec,
        hypervisor: NamespaceHypervisor,
        *,
        disks: str,
        pods: RealPods | None = None,
        lacking: Sequence[str] = (),
    ) -> None:
        self._run = run
        self._spec = spec
        self._hypervisor = hypervisor
        self._disks = disks
        self._parts = describe_parts(pods, lacking)
        self._started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")

    def handlers(self) -> dict[str, Any]:
        """By the names that the control socket knows."""
        return {"ping": self.ping, "status": self.status, "kubeconfig": self.kubeconfig, "machines": self.machines}

    async def ping(self) -> None:
        """Answer."""

    def facts(self) -> dict[str, Any]:
        """What is true from `up` to `down`: content of campus.json."""
        spec = self._spec
        return {
            "name": spec.name,
            "started": self._started,
            "network": str(spec.cidr),
            "gateway": str(spec.gateway),
            "proxmox": {node.name: f"https://{node.address}:{PVE_PORT}" for node in spec.nodes},
            "mirror": f"https://{spec.mirror}:{MIRROR_PORT}",
            "store": f"https://{spec.store.address}:{spec.store.port}/{spec.store.bucket}" if spec.store else None,
            "login": f"https://{spec.login.host}" if spec.login else None,
            "login_lacks": identity.missing_parts() if spec.login else [],
            "ca": str(self._run.ca),
            "disks": self._disks,
            "root": "this machine's" if syscalls.outer_uid() == 0 else "a user namespace's",
            "versions": {
                "python": platform.python_version(),
                "kernel": platform.release(),
                "openssh": _first_line("ssh", "-V"),
                "starlette": version("starlette"),
                "uvicorn": version("uvicorn"),
                "moto": version("moto"),
            },
        }

    async def status(self) -> dict[str, Any]:
        """Everything `lab status` shows."""
        return self.facts() | {
            "parts": [{"part": part, "is": how, "means": means} for part, how, means in self._parts],
            "machines": await self.machines(),
            "daemon_mib": _memory(os.getpid()) / 1024,
        }

    async def machines(self) -> list[dict[str, Any]]:
        """VMs with the power on; memory is their proportional share (PSS)."""
        return [self._machine(machine) for machine in self._hypervisor.machines()]

    async def kubeconfig(self) -> str | None:
        """The admin's kubeconfig of the cluster in the VMs, if there is one."""
        return find_kubeconfig(self._hypervisor)

    def _machine(self, machine: RunningVm) -> dict[str, Any]:
        vm, pids = machine.vm, list_processes(machine.pid)
        booted = Path(f"/proc/{machine.pid}/root/run/lab/booted").exists()
        return {
            "vmid": vm.vmid,
            "name": vm.name,
            "node": vm.node,
            "addresses": [nic.address.split("/")[0] for nic in vm.nics if nic.address],
            "user": vm.user,
            "gpus": len(vm.gpus),
            "state": "running" if booted else "booting",
            "pid": machine.pid,
            "processes": len(pids),
            "pods": sum(read_name(pid) == SHIM for pid in pids),
            "memory_mib": round(sum(_memory(pid) for pid in pids) / 1024, 1),
            "uptime": round(time.time() - machine.since),
        }


def find_kubeconfig(
    hypervisor: NamespaceHypervisor, read: Callable[[int, str], str | None] | None = None
) -> str | None:
    """The kubeconfig of the first server that has one, with the server's own address in place of loopback."""
    for machine in hypervisor.machines():
        text = (read or read_file)(machine.pid, K3S_KUBECONFIG)
        address = next((nic.address for nic in machine.vm.nics if nic.address), None)
        if text and address:
            return text.replace("127.0.0.1", address.split("/")[0])
    return None


def read_name(pid: int) -> str:
    """What the kernel calls a process (15 bytes of its program's name); empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def read_file(pid: int, path: str) -> str | None:
    """A file of the VM whose PID 1 is `pid`, or None."""
    try:
        with os.fdopen(syscalls.open_in_root(Path(f"/proc/{pid}/root"), path)) as file:
            return file.read()
    except OSError:
        return None


def _memory(pid: int) -> int:
    """Proportional set size, KiB; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]
