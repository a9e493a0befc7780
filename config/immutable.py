"""Settings that cannot change once they are deployed, compared with an exported stack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config.base import MIB_PER_GIB, format_size
from config.finding import Finding
from config.hosts import Shape
from config.resource_names import STACK_TYPE, VM_TYPE
from config.rules.compatibility import kubernetes_minor
from config.site import Site
from config.validate import locate_findings
from config.yaml_source import Document

REPLACES_MACHINE = (
    "change it back: it would replace the machine and delete its disks; to move a node, remove it and add another"
)


def immutable_settings(site: Site) -> dict[str, str]:
    """Settings that a running cluster cannot change; the stack exports them as `fixed`."""
    return {
        "pods": str(site.network.pods),
        "services": str(site.network.services),
        "flannel": site.k3s.flannel,
        "domain": site.domain,
        "k3s": site.k3s.version,
    }


def find_immutable_changes(path: Path, site: Site, document: Document, export: dict[str, Any]) -> list[Finding]:
    """Settings that differ from the exported stack (`pulumi stack export`) in a way that no update can apply."""
    return locate_findings(path, document, compare_with_deployed(site, export))


def compare_with_deployed(site: Site, export: dict[str, Any]) -> Iterator[Finding]:
    """The same, before file and line are added."""
    resources = _resources(export)
    outputs = next((item.get("outputs") or {} for item in resources if item.get("type") == STACK_TYPE), {})
    deployed = _text_or_empty(outputs.get("site"))
    if deployed and deployed != site.name:
        remedy = "use a separate stack for each site"
        yield Finding(("name",), f"differs from the site of this stack, {deployed}", remedy)
        return
    yield from _compare_cluster(site, outputs.get("fixed"))
    yield from _compare_machines(site, [item.get("inputs") or {} for item in resources if item.get("type") == VM_TYPE])


def _resources(export: dict[str, Any]) -> list[dict[str, Any]]:
    deployment = export.get("deployment")
    found = deployment.get("resources") if isinstance(deployment, dict) else None
    return [item for item in found or [] if isinstance(item, dict)]


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


_PLACE = {
    "pods": ("network", "pods"),
    "services": ("network", "services"),
    "flannel": ("k3s", "flannel"),
    "domain": ("domain",),
}


def _compare_cluster(site: Site, deployed: object) -> Iterator[Finding]:
    if not isinstance(deployed, dict):
        return
    wanted = immutable_settings(site)
    for name, place in _PLACE.items():
        if (now := _text_or_empty(deployed.get(name))) and now != wanted[name]:
            remedy = "change it back; a running cluster cannot change it"
            yield Finding(place, f"is deployed as {now}", remedy, value=wanted[name])
    now = _text_or_empty(deployed.get("k3s"))
    if now:
        running, asked = kubernetes_minor(now), kubernetes_minor(site.k3s.version)
        if asked < running:
            remedy = "Kubernetes cannot be downgraded: restore a snapshot instead"
            yield Finding(("k3s", "version"), f"is older than the running {now}", remedy, value=site.k3s.version)
        elif asked > running + 1:
            remedy = f"upgrade to 1.{running + 1} first"
            yield Finding(
                ("k3s", "version"), f"skips a minor version: {now} is running", remedy, value=site.k3s.version
            )


def _compare_machines(site: Site, deployed: list[dict[str, Any]]) -> Iterator[Finding]:
    wanted = {node.name: (index, node) for index, node in site.nodes_by_group}
    for inputs in deployed:
        name = _text_or_empty(inputs.get("name"))
        if name not in wanted:
            remedy = f"remove the node first: `./lyceum node remove {name}`"
            yield Finding(("nodes",), f"do not contain {name}, which is deployed", remedy, value=None)
            continue
        index, node = wanted[name]
        network = (inputs.get("networkDevices") or [{}])[0]
        for field, now, asked in (
            ("host", inputs.get("nodeName"), node.host),
            ("address", _deployed_address(inputs), str(node.address)),
            ("vm-id", inputs.get("vmId"), node.vm_id),
            ("mac", str(network.get("macAddress", "")).lower(), node.mac),
        ):
            shown = int(now) if isinstance(now, float) else now
            if shown and shown != asked:
                yield Finding(
                    ("nodes", index, field), f"of {name} is deployed as {shown}", REPLACES_MACHINE, value=asked
                )
                if field == "address":
                    break  # VMID and MAC address are derived from it
        yield from _compare_disks(index, node.name, inputs.get("disks") or [], node.shape)


def _deployed_address(inputs: dict[str, Any]) -> str:
    for configuration in (inputs.get("initialization") or {}).get("ipConfigs") or []:
        return str((configuration.get("ipv4") or {}).get("address", "")).partition("/")[0]
    return ""


def _compare_disks(index: int, name: str, deployed: list[dict[str, Any]], shape: Shape) -> Iterator[Finding]:
    field = {"system": "disk", "scratch": "scratch", "ceph": "ceph"}
    for disk in deployed:
        purpose = field.get(_text_or_empty(disk.get("serial")))
        if purpose is None:
            continue
        now, asked = int(disk.get("size") or 0) * MIB_PER_GIB, getattr(shape, purpose) or 0
        if asked < now:
            what = f"of {name} shrinks `{purpose}` from {format_size(now)}" + (
                f" to {format_size(asked)}" if asked else ""
            )
            remedy = "set it back: a disk can only grow"
            yield Finding(("nodes", index, "shape"), what, remedy)


def read_export(text: str) -> dict[str, Any]:
    """Reads the output of `pulumi stack export`.

    Raises:
        ValueError: it is not that.
    """
    try:
        data = json.loads(text)
    except ValueError:
        raise ValueError("is not JSON; use the output of `pulumi stack export`") from None
    if not (isinstance(data, dict) and "deployment" in data):
        raise ValueError("is not an exported stack; use the output of `pulumi stack export`")
    return data
