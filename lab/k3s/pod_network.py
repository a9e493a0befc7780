"""Routes to the pods of real nodes, as flannel's host-gw backend has them: a campus's nodes share one network."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.k3s import log
from lab.kubernetes import KubeClient, KubernetesError

__all__ = ["follow_nodes", "route_changes", "run_tool", "wanted_routes"]

_INTERVAL = 2.0


def wanted_routes(nodes: Iterable[Mapping[str, Any]], real: Iterable[str], own: str) -> dict[str, str]:
    """Pod range -> address of its node, for the real nodes other than our own."""
    routes = {}
    for node in nodes:
        name, pod_cidr = node["metadata"]["name"], node["spec"].get("podCIDR")
        addresses = node.get("status", {}).get("addresses", [])
        address = next((item["address"] for item in addresses if item["type"] == "InternalIP"), None)
        if name != own and name in set(real) and pod_cidr and address:
            routes[pod_cidr] = address
    return routes


def route_changes(known: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Commands for `ip -batch`."""
    new = [f"route replace {cidr} via {address}" for cidr, address in wanted.items() if known.get(cidr) != address]
    return [*new, *(f"route del {cidr}" for cidr in known if cidr not in wanted)]


async def run_tool(command: Sequence[str], lines: str) -> None:
    """Give lines to ip(8) or nft(8), and log what it has against them."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate(lines.encode())
    if process.returncode:
        log.error(f"{command[0]}: {output.decode().strip()}")


async def follow_nodes(kube: KubeClient, real: Iterable[str], own: str) -> None:
    """Keep this host's routes until cancelled.

    Args:
        kube: A client that may list Nodes.
        real: Names of the nodes that have real pods.
        own: This host's node.
    """
    known: dict[str, str] = {}
    while True:
        try:
            listed = (await kube.call("GET", "/api/v1/nodes")).get("items", [])
        except KubernetesError as error:
            log.warning(f"Failed to read nodes for routes: {error}")
        else:
            wanted = wanted_routes(listed, real, own)
            if changes := route_changes(known, wanted):
                await run_tool(["ip", "-force", "-batch", "-"], "".join(f"{line}\n" for line in changes))
            known = wanted
        await asyncio.sleep(_INTERVAL)
