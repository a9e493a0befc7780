"""A node whose kubelet is real: containerd, kubelet, kube-proxy, a CSI driver, and KWOK for the pods that are not real."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.certificates import client_context
from lab.host.plan import LAB
from lab.k3s import kwok, log, node_settings, pod_network
from lab.k3s.config import Options
from lab.k3s.host import Host, announce_ready
from lab.k3s.node import node_status
from lab.k3s.paths import BINARIES, MACHINE, Paths, write_secret
from lab.k3s.processes import ChildProcesses
from lab.k3s.release import running_version
from lab.kubernetes import KubeClient
from lab.real_pods import LABEL, REAL, RealPods

__all__ = ["RealNode", "boot_id", "is_real"]

VOLUMES = LAB / "volumes"
"""What CSI volumes are made of; all VMs of the campus see the same."""
KUBELET = Path("/var/lib/kubelet")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def is_real(host: Host) -> RealPods | None:
    """The campus's real pods, if this host is one of their nodes."""
    pods = RealPods.read()
    return pods if pods and host.machine.name in pods.nodes else None


def boot_id() -> str:
    """Changes with each boot of the VM: its machine.json is written then."""
    return f"boot-{MACHINE.stat().st_mtime_ns}"


@dataclass(frozen=True)
class RealNode:
    """A node of a campus with real pods.

    Attributes:
        host: This host; its Node is registered.
        paths: K3s's files; the credentials are there.
        options: The settings.
        pods: The campus's real pods.
        api: URL of the API server.
    """

    host: Host
    paths: Paths
    options: Options
    pods: RealPods
    api: str

    def run(self) -> None:
        """Be the agent until a signal or the end of a part."""
        asyncio.run(self._run_until_signal())

    async def _run_until_signal(self) -> None:
        work = asyncio.create_task(self._serve())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            log.fatal(f"{await work} ended")
        except asyncio.CancelledError:
            log.info("Shutdown request received")

    async def _serve(self) -> str:
        """Run what a node consists of until a part of it ends; returns the name of that part."""
        children = ChildProcesses()
        try:
            routes = asyncio.create_task(await self.start(children))
            announce_ready()
            name = await children.ended
            routes.cancel()
            return name
        finally:
            await children.stop_all()

    async def start(self, children: ChildProcesses) -> Coroutine[Any, Any, None]:
        """Start what runs on a real node, in the order in which one needs the other.

        Returns:
            Work that goes on: the routes to other nodes' pods.
        """
        self._write_settings()
        host, agent, etc = self.host, self.paths.agent, self.paths.agent / "etc"
        # The shim is found on PATH, by containerd's own rules.
        os.environ["PATH"] = f"{BINARIES}:{os.environ.get('PATH', _PATH)}"
        socket = Path(node_settings.SOCKET)
        socket.unlink(missing_ok=True)
        await children.start("containerd", ["containerd", "-c", str(etc / "containerd.toml"), "-l", "warn"])
        kube = KubeClient(self.api, client_context(agent / "server-ca.crt", agent / "client-kubelet.crt"))
        await self._make_network(kube)
        while not socket.exists() and not children.ended.done():  # noqa: ASYNC110  # containerd tells by it only
            await asyncio.sleep(0.05)
        kubeconfig = str(agent / "kubelet.kubeconfig")
        kubelet = [
            f"--config={etc / 'kubelet.yaml'}",
            f"--machine={etc / 'machine.json'}",
            f"--pods={LABEL}={REAL}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={host.name}",
            f"--node-ip={host.address}",
            f"--root-dir={KUBELET}",
            *node_settings.kubelet_flags(self.options),
        ]
        await children.start("kubelet", ["labnode", "kubelet", *kubelet])
        await children.start("CSI driver", ["labnode", "csi", str(VOLUMES), str(KUBELET), kubeconfig, host.name])
        await children.start("kube-proxy", ["labnode", "kube-proxy", f"--config={etc / 'kube-proxy.yaml'}"])
        await children.start("KWOK", kwok.command(kubeconfig, str(etc / "kwok.yaml"), host.name, host.address))
        return pod_network.follow_nodes(kube, self.pods.nodes, host.name)

    def _write_settings(self) -> None:
        host, options, agent, etc = self.host, self.options, self.paths.agent, self.paths.agent / "etc"
        machine = host.machine
        status = node_status(machine, options, host.name, host.address, running_version())
        bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
        files = {
            etc / "containerd.toml": node_settings.containerd_settings(BINARIES / "labrunc"),
            Path(node_settings.REGISTRIES, "_default/hosts.toml"): node_settings.registry_settings(self.pods.registry),
            etc / "kubelet.yaml": node_settings.kubelet_settings(agent, options, host.address),
            etc / "machine.json": node_settings.machine_facts(machine, status["nodeInfo"], boot_id()),
            etc / "kube-proxy.yaml": node_settings.proxy_settings(
                agent / "kubeproxy.kubeconfig", options.text("cluster-cidr"), host.name, bridged=bridged
            ),
        }
        for file, text in files.items():
            write_secret(file, text, 0o644)
        for directory in (Path(node_settings.SOCKET).parent, Path("/run/containerd"), KUBELET):
            directory.mkdir(parents=True, exist_ok=True)

    async def _make_network(self, kube: KubeClient) -> None:
        """Give the pods their network, as soon as the node has a range of addresses."""
        pod_cidr = ""
        while not pod_cidr:
            await asyncio.sleep(0.1)
            node = await kube.get(f"/api/v1/nodes/{self.host.name}") or {"spec": {}}
            pod_cidr = str(node["spec"].get("podCIDR", ""))
        host_ports = Path("/usr/sbin/iptables").exists() and Path("/usr/lib/cni/portmap").exists()
        settings = node_settings.cni_settings(pod_cidr, host_ports=host_ports)
        write_secret(Path("/etc/cni/net.d/10-flannel.conflist"), settings, 0o644)
        rules = node_settings.masquerade_rules(self.options.text("cluster-cidr"))
        await pod_network.run_tool(["nft", "-f", "-"], rules)
