"""kube-vip: the API's address lies on one server, which announces it by ARP and drops it when it can no longer serve.

Taken from the kube-vip DaemonSet that the cluster has: its environment names the address, the interface and the timings,
exactly as the real one reads them.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.k3s import log
from lab.kubernetes import KubeClient, KubernetesError

_POLL_SECONDS = 1.0
"""Seconds between two looks at the DaemonSets while there is none for kube-vip."""
_KNOWN_POLL_SECONDS = 5.0
"""The same while there is one: an idle campus of three servers otherwise asks for them three times a second."""


@dataclass(frozen=True)
class VipSettings:
    """Settings of kube-vip's control-plane mode."""

    address: str
    interface: str
    lease: str = "plndr-cp-lock"
    namespace: str = "kube-system"
    lease_seconds: int = 5
    renew_deadline: int = 3
    retry_period: int = 1


def find_settings(documents: Iterable[Mapping[str, Any]], default_interface: str) -> VipSettings | None:
    """Return the settings of the first kube-vip workload that carries the control plane's address."""
    for document in documents:
        template = (document.get("spec") or {}).get("template") or {}
        for container in (template.get("spec") or {}).get("containers") or []:
            if "kube-vip" not in str(container.get("image", "")):
                continue
            env = {item["name"]: str(item.get("value", "")) for item in container.get("env") or []}
            address = env.get("address") or env.get("vip_address", "")
            if env.get("cp_enable") != "true" or not address:
                continue
            return VipSettings(
                str(ipaddress.IPv4Address(address)),
                env.get("vip_interface") or default_interface,
                env.get("vip_leasename") or VipSettings.lease,
                env.get("cp_namespace") or VipSettings.namespace,
                int(env.get("vip_leaseduration") or VipSettings.lease_seconds),
                int(env.get("vip_renewdeadline") or VipSettings.renew_deadline),
                int(env.get("vip_retryperiod") or VipSettings.retry_period),
            )
    return None


def interface_of(address: str) -> str:
    """Return the interface that carries an address, `eth0` when none does."""
    shown = subprocess.run(["ip", "-o", "-4", "address", "show"], check=True, capture_output=True, text=True).stdout
    for line in shown.splitlines():
        fields = line.split()
        if fields[3].split("/")[0] == address:
            return fields[1]
    return "eth0"


def _arp_frame(address: str, mac: bytes, operation: int) -> bytes:
    ip = ipaddress.IPv4Address(address).packed
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", 0x0806)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + ip + b"\xff" * 6 + ip


def send_gratuitous_arp(vip: VipSettings) -> None:
    """Send gratuitous ARP, as request and as reply, so that neighbours learn the new place at once."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((vip.interface, 0))
        mac: bytes = raw.getsockname()[4]
        for operation in (1, 2):
            raw.send(_arp_frame(vip.address, mac, operation))


def _set_address(vip: VipSettings, *, present: bool) -> None:
    verb = "replace" if present else "delete"
    subprocess.run(
        ["ip", "address", verb, f"{vip.address}/32", "dev", vip.interface], check=present, capture_output=True
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _stamp(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _acquire(kube: KubeClient, vip: VipSettings, identity: str) -> bool:
    """Renew the Lease, or take one that is free or has expired; returns whether it is held."""
    base = f"/apis/coordination.k8s.io/v1/namespaces/{vip.namespace}/leases"
    spec = {"holderIdentity": identity, "leaseDurationSeconds": vip.lease_seconds, "renewTime": _stamp(_now())}
    lease = await kube.get(f"{base}/{vip.lease}")
    if lease is None:
        body = {"metadata": {"name": vip.lease}, "spec": {**spec, "acquireTime": _stamp(_now()), "leaseTransitions": 0}}
        await kube.call("POST", base, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **body})
        return True
    old = lease["spec"]
    if old.get("holderIdentity") not in {identity, "", None}:
        renewed = dt.datetime.fromisoformat(old["renewTime"])
        if renewed + dt.timedelta(seconds=int(old.get("leaseDurationSeconds", vip.lease_seconds))) > _now():
            return False
        spec |= {"acquireTime": _stamp(_now()), "leaseTransitions": int(old.get("leaseTransitions") or 0) + 1}
    # The resource version goes along: of two servers that try at once, one is refused.
    lease["spec"] = {**old, **spec}
    await kube.call("PUT", f"{base}/{vip.lease}", lease)
    return True


async def _release(kube: KubeClient, vip: VipSettings, identity: str) -> None:
    """Give the Lease back, so that the next holder need not wait for its end."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{vip.namespace}/leases/{vip.lease}"
    lease = await kube.get(path)
    if lease is not None and lease["spec"].get("holderIdentity") == identity:
        lease["spec"]["holderIdentity"] = ""
        await kube.call("PUT", path, lease)


async def hold_address(kube: KubeClient, vip: VipSettings, identity: str) -> None:
    """Take part in the election until cancelled; the address is always removed at the end."""
    held = False
    renewed = time.monotonic()
    _set_address(vip, present=False)
    try:
        while True:
            try:
                won = await asyncio.wait_for(_healthy_and_leading(kube, vip, identity), vip.renew_deadline)
            except (KubernetesError, TimeoutError) as error:
                won = held and time.monotonic() - renewed < vip.renew_deadline
                if held and not won:
                    log.warning(f"kube-vip: lost {vip.address}: {error!r}")
            else:
                renewed = time.monotonic() if won else renewed
            if won != held:
                _set_address(vip, present=won)
                log.info(f"kube-vip: {'holding' if won else 'released'} {vip.address} on {vip.interface}")
            if won:
                with contextlib.suppress(OSError):
                    send_gratuitous_arp(vip)
            held = won
            await asyncio.sleep(vip.retry_period)
    finally:
        _set_address(vip, present=False)
        if held:
            with contextlib.suppress(KubernetesError, TimeoutError):
                await asyncio.wait_for(_release(kube, vip, identity), vip.renew_deadline)


async def _healthy_and_leading(kube: KubeClient, vip: VipSettings, identity: str) -> bool:
    if not await kube.is_ready():
        raise KubernetesError(0, "/readyz of this server's kube-apiserver fails")
    return await _acquire(kube, vip, identity)


async def follow_daemonset(kube: KubeClient, identity: str, default_interface: str) -> None:
    """Run as kube-vip's pod on this server while the cluster has its DaemonSet; until cancelled."""
    current: VipSettings | None = None
    holding: asyncio.Task[None] | None = None
    try:
        while True:
            # While the API is silent, what is known stays.
            with contextlib.suppress(KubernetesError):
                listed = await kube.call("GET", "/apis/apps/v1/daemonsets", query={"resourceVersion": "0"})
                wanted = find_settings(listed.get("items", []), default_interface)
                if wanted != current:
                    await _cancel(holding)
                    holding = asyncio.create_task(hold_address(kube, wanted, identity)) if wanted else None
                    current = wanted
            await asyncio.sleep(_KNOWN_POLL_SECONDS if current else _POLL_SECONDS)
    finally:
        await _cancel(holding)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
