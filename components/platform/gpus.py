"""The GPU Operator, and each node's sharing (R27, R28)."""

from typing import ClassVar

import pulumi
import pulumi_kubernetes as k8s

from components import gpu_resources
from components.layer import ANY_TAINT, Layer, LayerArgs, Values
from config.hosts import Node
from config.resource_names import Part, resource_name
from config.site import Site


class Gpus(Layer):
    """Drivers, device plugin, MIG and time-slicing.

    Creates: namespace, release, a wait for the operator's policy, and per node with shared cards its labels.
    Waits for: ClusterPolicy ready, then until each node with MIG offers its slices. With a MIG label set before the driver
    runs, the device plugin offers whole cards (gpu-operator#2670), so the labels come last.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Gpus"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("gpu-operator", values(self.site, self.nodes), timeout=1800)
        policy = k8s.apiextensions.CustomResourcePatch(
            "cluster-policy-ready",
            api_version="nvidia.com/v1",
            kind="ClusterPolicy",
            metadata={
                "name": "cluster-policy",
                "annotations": {
                    "pulumi.com/waitFor": "jsonpath={.status.state}=ready",
                    "pulumi.com/patchForce": "true",
                },
            },
            opts=self.child(depends_on=[release], custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m")),
        )
        labels = [self._add_labels(node, policy) for node in self.nodes if gpu_resources.node_gpu_labels(node)]
        self.ready = (policy, *labels)
        self.register_outputs({})

    def _add_labels(self, node: Node, policy: pulumi.Resource) -> k8s.core.v1.NodePatch:
        annotations = {"pulumi.com/patchForce": "true"}
        if gpu_resources.mig_profile(node):
            # The state label may still hold `success` from the previous layout; the allocatable resources are current.
            slices = {name: count for name, count in gpu_resources.offered_resources([node]).items() if "/mig-" in name}
            resource, count = next(iter(slices.items()))
            annotations["pulumi.com/waitFor"] = f'jsonpath={{.status.allocatable["{resource}"]}}={count}'
        return k8s.core.v1.NodePatch(
            resource_name(node.name, Part.GPU_SHARING),
            metadata={"name": node.name, "labels": gpu_resources.node_gpu_labels(node), "annotations": annotations},
            opts=self.child(depends_on=[policy], custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m")),
        )


FIELDS = (
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock in MHz"),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock in MHz"),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "Temperature in degrees Celsius"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Temperature of the memory in degrees Celsius"),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power in W"),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy since the driver started in mJ"),
    ("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", "gauge", "Sent over PCIe in KB/s"),
    ("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", "gauge", "Received over PCIe in KB/s"),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "PCIe retries"),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "Time with work in percent"),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Time with memory traffic in percent"),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder in percent"),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder in percent"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Number of the last XID error"),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Memory free in MiB"),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Memory used in MiB"),
    ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Memory reserved in MiB"),
    ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", "NVLink bandwidth over all lanes"),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Memory rows replaced after uncorrectable errors"),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Memory rows replaced after correctable errors"),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether a memory row could not be replaced"),
    ("DCGM_FI_DRIVER_VERSION", "label", "Driver"),
    # Data centre cards only: the exporter leaves them out where the card has no profiling metrics.
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Share of time with work"),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Share of cycles in which the tensor cores worked"),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Share of cycles with memory traffic"),
    ("DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", "Sent over PCIe in bytes per second"),
    ("DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", "Received over PCIe in bytes per second"),
)
"""Field, type and help of what the DCGM exporter gives: what it gives by itself on data centre cards, and NVML's PCIe
throughput, because GeForce cards have no profiling metrics."""


def exported_fields() -> str:
    """The exporter's list of fields, as it reads it: lines of comma-separated values."""
    return "".join(f"{name}, {kind}, {text}\n" for name, kind, text in FIELDS)


def values(site: Site, nodes: tuple[Node, ...]) -> Values:
    """Chart values. With NRI the operator touches neither containerd's configuration nor RuntimeClasses of K3s."""
    operator = site.platform.gpu_operator
    cards = [gpu for node in gpu_resources.gpu_nodes(nodes) for gpu in node.gpus]
    reboot = any(gpu.card.mig_needs_reboot and gpu.layout for gpu in cards)
    driver: Values = {
        "enabled": True,
        "usePrecompiled": operator.precompiled,
        "kernelModuleType": "auto",
        # One node at a time, after the notebooks on it have ended; a pod without a controller is never deleted.
        "upgradePolicy": {
            "autoUpgrade": True,
            "maxParallelUpgrades": 1,
            "waitForCompletion": {"podSelector": "component=singleuser-server", "timeoutSeconds": 0},
            "gpuPodDeletion": {"force": False},
        },
    }
    if operator.driver:
        driver["version"] = operator.driver
    return {
        "cdi": {"enabled": True, "nriPluginEnabled": True},
        "driver": driver,
        "toolkit": {"enabled": True},
        "mig": {"strategy": gpu_resources.mig_strategy(nodes)},
        "daemonsets": {"tolerations": ANY_TAINT},
        "migManager": {
            # A100 and A30 enter MIG mode only with a reboot when they are passed through (gpu-operator#1606).
            "env": [{"name": "WITH_REBOOT", "value": "true"}] if reboot else [],
            "config": {
                "create": True,
                "name": "lyceum-mig",
                "default": gpu_resources.ALL_DISABLED,
                "data": {"config.yaml": gpu_resources.mig_config(nodes)},
            },
        },
        "devicePlugin": {
            "config": {
                "create": True,
                "name": "lyceum-device-plugin",
                "default": "default",
                "data": gpu_resources.plugin_configs(nodes),
            }
        },
        "dcgmExporter": {
            "enabled": True,
            "serviceMonitor": {"enabled": site.platform.monitoring.enabled},
            "config": {"create": True, "name": "lyceum-dcgm", "data": exported_fields()},
        },
        "nfd": {"enabled": True},
        "node-feature-discovery": {"worker": {"tolerations": ANY_TAINT}},
    }
