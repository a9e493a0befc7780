"""Settings of what runs on a real node: containerd, kubelet, kube-proxy and the pods' network. Pure: facts in, text out."""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.host.plan import CONTAINERD_ROOT
from lab.k3s.config import Options
from lab.k3s.node import NodeMachine

__all__ = [
    "SOCKET",
    "cni_settings",
    "containerd_settings",
    "kubelet_flags",
    "kubelet_settings",
    "machine_facts",
    "masquerade_rules",
    "proxy_settings",
    "registry_settings",
]

SOCKET = "/run/k3s/containerd/containerd.sock"
"""K3s's."""
REGISTRIES = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
SANDBOX_IMAGE = "docker.io/rancher/mirrored-pause:3.6"
"""K3s's `pause-image`."""
BRIDGE = "cni0"


def containerd_settings(runtime: Path) -> str:
    """config.toml of containerd; `runtime` is the program that is started in place of runc."""
    return f"""\
version = 3
root = "{CONTAINERD_ROOT}"
state = "{Path(SOCKET).parent}"
[grpc]
  address = "{SOCKET}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  discard_unpacked_layers = true
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{SANDBOX_IMAGE}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{REGISTRIES}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{runtime}"
      SystemdCgroup = false
"""


def registry_settings(registry: str) -> str:
    """hosts.toml for every registry: the lab's answers in its place."""
    return f'server = "{registry}"\n\n[host."{registry}"]\n  capabilities = ["pull", "resolve"]\n'


def split_range(pod_cidr: str) -> dict[str, str]:
    """Addresses for real pods: the upper half of a node's range; KWOK gives out the lower half from its start."""
    network = ipaddress.ip_network(pod_cidr)
    size = network.num_addresses
    return {
        "subnet": pod_cidr,
        "rangeStart": str(network[size // 2]),
        "rangeEnd": str(network[size - 3]),
        "gateway": str(network[size - 2]),
    }


def cni_settings(pod_cidr: str, *, host_ports: bool) -> str:
    """The network of a node's pods: a bridge, addresses of the node's range, ports of the host where they can be had."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "mtu": 1500,
        "ipam": {"type": "host-local", "ranges": [[split_range(pod_cidr)]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    port_map = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = [bridge, *([port_map] if host_ports else [])]
    return json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": plugins}, indent=1)


def masquerade_rules(cluster_cidr: str) -> str:
    """Input of nft: who is outside the cluster sees a pod's traffic from its node's address, as flannel has it."""
    return f"""\
table ip lab-pods
delete table ip lab-pods
table ip lab-pods {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {cluster_cidr} ip daddr != {{ {cluster_cidr}, 224.0.0.0/4 }} masquerade
  }}
}}
"""


def kubelet_settings(directory: Path, options: Options, address: str) -> str:
    """KubeletConfiguration as K3s writes it, as far as the lab can keep to it.

    No cgroups: limits are not enforced, and memory is never short.
    """
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(directory / "client-ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "clusterDNS": list(options.many("cluster-dns")),
        "clusterDomain": options.text("cluster-domain"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "100Mi"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "healthzBindAddress": "127.0.0.1",
        # Images come with the node; one that was removed because the machine's disk is full would not come back.
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "readOnlyPort": 0,
        "resolvConf": options.text("resolv-conf") or "/etc/resolv.conf",
        "serializeImagePulls": False,
        "tlsCertFile": str(directory / "serving-kubelet.crt"),
        "tlsPrivateKeyFile": str(directory / "serving-kubelet.key"),
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    }
    return yaml.safe_dump(settings, sort_keys=False)


def kubelet_flags(options: Options) -> list[str]:
    """The settings' own kubelet arguments, which win over the file.

    Without thresholds for disks: all nodes of the lab have the machine's one disk, and none must lose its pods to it.
    """
    return [f"--{_without_disks(item.lstrip('-'))}" for item in options.many("kubelet-arg")]


def _without_disks(argument: str) -> str:
    name, _, value = argument.partition("=")
    if name != "eviction-hard":
        return argument
    return f"{name}={','.join(one for one in value.split(',') if one.startswith('memory.'))}"


def machine_facts(machine: NodeMachine, node_info: Mapping[str, str], boot_id: str) -> str:
    """What the kubelet is told of its machine (toolchain/node): JSON.

    Args:
        machine: The VM.
        node_info: `nodeInfo` of the Node as the stand-in registers it.
        boot_id: Changes with each boot, by which the kubelet notes one.
    """
    facts = {
        "cores": machine.cores,
        "memory_mib": machine.memory_mib,
        "disk_gib": machine.disk_gib,
        "kernel": node_info["kernelVersion"],
        "os": node_info["osImage"],
        "machine_id": node_info["machineID"],
        "boot_id": boot_id,
    }
    return json.dumps(facts)


def proxy_settings(kubeconfig: Path, cluster_cidr: str, node_name: str, *, bridged: bool) -> str:
    """KubeProxyConfiguration.

    Args:
        kubeconfig: kube-proxy's access.
        cluster_cidr: Addresses of all pods.
        node_name: Which node this is.
        bridged: Whether the kernel shows netfilter what passes a bridge. Otherwise an answer from a pod on the same
            node would not come back through the Service's address, and every connection takes the node's.
    """
    zero = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    settings: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": cluster_cidr,
        "hostnameOverride": node_name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": zero,  # the machine's settings, which a VM may not change
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        **({} if bridged else {"nftables": {"masqueradeAll": True}}),
    }
    return yaml.safe_dump(settings, sort_keys=False)
