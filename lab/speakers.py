"""What MetalLB's speakers do on a campus: a Service's address is reached at one node that has a ready pod of it.

They answer ARP; the lab gives the campus's router a host route instead. MetalLB's controller gives the addresses.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab import network
from lab.kubernetes import KubeClient, KubernetesError

log = logging.getLogger("lab.speakers")

INTERVAL_SECONDS = 2.0
SERVICES, SLICES, NODES = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/nodes"
Object = Mapping[str, Any]


def find_routes(
    services: Iterable[Object], slices: Iterable[Object], nodes: Iterable[Object], real_nodes: Sequence[str]
) -> dict[str, str]:
    """Address of a Service -> address of the node to which it leads: the first real one with a ready pod of it."""
    addresses = {
        node["metadata"]["name"]: found["address"]
        for node in nodes
        for found in node.get("status", {}).get("addresses", [])
        if found["type"] == "InternalIP"
    }
    having: dict[tuple[str, str], set[str]] = {}
    for item in slices:
        metadata = item["metadata"]
        of = (metadata["namespace"], metadata.get("labels", {}).get("kubernetes.io/service-name", ""))
        ready = (point for point in item.get("endpoints") or () if point.get("conditions", {}).get("ready"))
        having.setdefault(of, set()).update(point.get("nodeName", "") for point in ready)
    routes = {}
    for service in services:
        place = (service["metadata"]["namespace"], service["metadata"]["name"])
        node = next((name for name in real_nodes if name in having.get(place, ()) and name in addresses), None)
        for given in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
            if node and "ip" in given:
                routes[given["ip"]] = addresses[node]
    return routes


def route_lines(known: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Commands for `ip -batch`."""
    new = [f"route replace {address}/32 via {node}" for address, node in wanted.items() if known.get(address) != node]
    return [*new, *(f"route delete {address}/32" for address in known if address not in wanted)]


async def announce(kubeconfig: Callable[[], str | None], real_nodes: Sequence[str]) -> None:
    """Keeps the routes until cancelled.

    Args:
        kubeconfig: Gives the admin's kubeconfig once a cluster exists, else None.
        real_nodes: Nodes whose pods can answer.
    """
    known: dict[str, str] = {}
    while True:
        if text := kubeconfig():
            kube = KubeClient.from_kubeconfig(text)
            try:
                while kubeconfig() == text:
                    services, slices, nodes = [
                        (await kube.call("GET", path)).get("items", []) for path in (SERVICES, SLICES, NODES)
                    ]
                    wanted = find_routes(services, slices, nodes, real_nodes)
                    await network.run_ip(route_lines(known, wanted), tolerant=True)
                    known = wanted
                    await asyncio.sleep(INTERVAL_SECONDS)
            except (KubernetesError, OSError) as error:
                log.info("waiting for the API server: %s", error)
            finally:
                await kube.close()
        await asyncio.sleep(INTERVAL_SECONDS)
