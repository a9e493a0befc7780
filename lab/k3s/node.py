"""The Node object that a host registers: pure functions from machine and settings to labels, capacity and conditions."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.k3s.config import Options
from lab.k3s.release import CONTAINERD, KERNEL, OS_IMAGE

__all__ = ["KernelDefaults", "NodeError", "NodeMachine", "check_kernel", "check_labels", "node_object", "node_status"]

GPU_ANNOTATION = "lab.lyceum/gpus"
"""JSON list of the machine's passthrough devices, for the lab's stand-in of the GPU Operator."""

SECRETS = ("token", "agent-token", "etcd-s3-access-key", "etcd-s3-secret-key", "datastore-endpoint", "vpn-auth")
"""Settings whose values K3s hides in the node's annotations."""

MASK = "********"

KernelDefaults: Mapping[str, int] = {
    "vm.overcommit_memory": 1,
    "vm.panic_on_oom": 0,
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "kernel.keys.root_maxkeys": 1000000,
    "kernel.keys.root_maxbytes": 25000000,
}
"""What the kubelet wants of the kernel under protect-kernel-defaults (kubelet, container manager)."""

_MIB = 1024
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9}


class NodeError(Exception):
    """The kubelet would refuse to start; the text is the kubelet's."""


@dataclass(frozen=True)
class NodeMachine:
    """The virtual machine below the node."""

    name: str
    cores: int
    memory_mib: int
    disk_gib: int
    gpus: tuple[Mapping[str, str], ...]
    """Passthrough devices: `address`, `vendor`, `device`, `name`."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "NodeMachine":
        """Read what is needed from `machine.json`."""
        disks = raw.get("disks") or []
        boot = next((disk for disk in disks if isinstance(disk, dict) and disk.get("boot")), {})
        gpus = tuple(dict(gpu) for gpu in raw.get("gpus") or [])
        return cls(str(raw["name"]), int(raw["cores"]), int(raw["memory_mib"]), int(boot.get("size_gib", 40)), gpus)


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that a kubelet may not give itself, such as node roles (kubelet, `--node-labels`)."""
    prefixes = ("kubelet.kubernetes.io", "node.kubernetes.io")
    allowed = {
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "kubernetes.io/arch",
        "kubernetes.io/hostname", "kubernetes.io/os", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    }  # fmt: skip
    unknown = []
    for label in labels:
        key = label.partition("=")[0]
        domain = key.partition("/")[0] if "/" in key else ""
        reserved = domain in {"kubernetes.io", "k8s.io"} or domain.endswith((".kubernetes.io", ".k8s.io"))
        if reserved and key not in allowed and not any(domain == p or domain.endswith(f".{p}") for p in prefixes):
            unknown.append(key)
    if unknown:
        raise NodeError(
            f"failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: "
            f"{sorted(unknown)}\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            f"({', '.join(prefixes)}) or be in the specifically allowed set ({', '.join(sorted(allowed))})"
        )


def check_kernel(values: Mapping[str, int]) -> None:
    """Refuse kernel settings other than the kubelet's; settings that are not given are not judged."""
    wrong = [
        f"invalid kernel flag: {name.replace('.', '/')}, expected value: {wanted}, actual value: {values[name]}"
        for name, wanted in KernelDefaults.items()
        if name in values and values[name] != wanted
    ]
    if wrong:
        raise NodeError(f"failed to run Kubelet: Failed to start ContainerManager: [{', '.join(wrong)}]")


def _taint(text: str) -> dict[str, str]:
    match = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)", text)
    if match is None:
        raise NodeError(f"invalid taint spec: {text}, a taint is written key=value:effect")
    key, value, effect = match.groups()
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _quantity(text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)(m|[KMGT]i|[kMG]|)", text)
    if match is None:
        raise NodeError(f"invalid quantity {text!r}: write 500m, 2, 512Mi or 4Gi")
    number, unit = match.groups()
    return float(number) / 1000 if unit == "m" else float(number) * _UNITS[unit]


def _kubelet_arguments(options: Options) -> dict[str, str]:
    return dict(item.lstrip("-").partition("=")[::2] for item in options.many("kubelet-arg"))


def _reserved(arguments: Mapping[str, str], resource: str) -> float:
    total = 0.0
    for name in ("kube-reserved", "system-reserved"):
        pairs = dict(pair.partition("=")[::2] for pair in arguments.get(name, "").split(",") if pair)
        total += _quantity(pairs[resource]) if resource in pairs else 0.0
    return total


def _eviction_threshold(arguments: Mapping[str, str]) -> float:
    """Bytes of `memory.available`; K3s's own thresholds are for disks and take the kubelet's 100 MiB away."""
    pairs = dict(pair.partition("<")[::2] for pair in arguments.get("eviction-hard", "").split(",") if pair)
    return _quantity(pairs.get("memory.available", "0"))


def capacity(machine: NodeMachine, options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Return capacity and allocatable; GPUs come later, from whatever plays the device plugin."""
    arguments = _kubelet_arguments(options)
    pods = arguments.get("max-pods", "110")
    memory = machine.memory_mib * _MIB
    whole = {
        "cpu": str(machine.cores),
        "memory": f"{memory}Ki",
        "ephemeral-storage": f"{machine.disk_gib * _MIB * _MIB}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "pods": pods,
    }
    left_memory = memory - int((_reserved(arguments, "memory") + _eviction_threshold(arguments)) / _MIB)
    left_cpu = round((machine.cores - _reserved(arguments, "cpu")) * 1000)
    if left_memory <= 0 or left_cpu <= 0:
        raise NodeError("kube-reserved and system-reserved leave nothing of this machine to pods")
    allocatable = {
        **whole,
        "memory": f"{left_memory}Ki",
        "cpu": f"{left_cpu}m" if left_cpu % 1000 else str(left_cpu // 1000),
    }
    return whole, allocatable


def node_status(machine: NodeMachine, options: Options, node_name: str, node_ip: str, version: str) -> dict[str, Any]:
    """Return the status that the kubelet posts; its conditions are KWOK's to keep."""
    whole, allocatable = capacity(machine, options)
    identity = hashlib.sha256(machine.name.encode()).hexdigest()[:32]
    external = [{"type": "ExternalIP", "address": address} for address in options.many("node-external-ip")]
    return {
        "addresses": [
            {"type": "InternalIP", "address": node_ip},
            *external,
            {"type": "Hostname", "address": node_name},
        ],
        "capacity": whole,
        "allocatable": allocatable,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "osImage": OS_IMAGE,
            "kernelVersion": KERNEL,
            "kubeletVersion": version,
            "kubeProxyVersion": version,
            "containerRuntimeVersion": CONTAINERD,
            "machineID": identity,
            "systemUUID": identity,
            "bootID": identity,
        },
    }


def _arguments_annotation(options: Options, role: str) -> str:
    words = [role]
    for name, given in sorted(options.values.items()):
        for value in given:
            words += [f"--{name}", MASK if name in SECRETS else value]
    return json.dumps(words)


def node_object(
    machine: NodeMachine, options: Options, role: str, identity: tuple[str, str], version: str
) -> dict[str, Any]:
    """Return the Node as it is first registered; labels and taints of the settings count only then.

    Args:
        machine: What the node runs on.
        options: The settings.
        role: `server` or `agent`.
        identity: Name and address of the node.
        version: K3s's version.
    """
    node_name, node_ip = identity
    check_labels(options.many("node-label"))
    words = _arguments_annotation(options, role)
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": "k3s",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": node_name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "k3s",
        **dict(label.partition("=")[::2] for label in options.many("node-label")),
    }
    annotations = {
        "alpha.kubernetes.io/provided-node-ip": node_ip,
        "k3s.io/hostname": node_name,
        "k3s.io/internal-ip": node_ip,
        "k3s.io/node-args": words,
        "k3s.io/node-config-hash": hashlib.sha256(words.encode()).hexdigest()[:52].upper() + "====",
        "k3s.io/node-env": "{}",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        GPU_ANNOTATION: json.dumps(machine.gpus),
    }
    if options.text("flannel-backend") != "none":
        annotations["flannel.alpha.coreos.com/backend-type"] = options.text("flannel-backend")
        annotations["flannel.alpha.coreos.com/kube-subnet-manager"] = "true"
        annotations["flannel.alpha.coreos.com/public-ip"] = node_ip
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node_name, "labels": labels, "annotations": annotations},
        "spec": {"providerID": f"k3s://{node_name}", "taints": [_taint(text) for text in options.many("node-taint")]},
        "status": node_status(machine, options, node_name, node_ip, version),
    }
