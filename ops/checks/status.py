"""`lyceum status`: nodes, layers and addresses as they are now."""

import base64
import gzip
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from config import layers
from config.errors import FAILED, LyceumError
from config.layer_record import ObjectHealth
from config.layers import installed_releases
from config.site import Site
from config.tokens import TokenGenerations
from ops.backup.replicas import ReplicaStatus, describe_replicas, gather_replicas
from ops.backup.transfer import backup_directory, gather_overview
from ops.checks import api_outage, api_vip
from ops.checks.workloads import ReleaseKey, workload_problems
from ops.clients import etcd
from ops.clients.kubernetes import Kube, Object
from ops.console import console, errors
from ops.engine.engine import Engine
from ops.engine.stack import Stack

ROLE = "node-role.kubernetes.io/"
POLL_SECONDS = 2.0
HELM_OK = "deployed"
"""Helm's status of a release whose last installation or upgrade ended well."""


@dataclass(frozen=True)
class NodeState:
    """One node as the cluster sees it."""

    name: str
    roles: str
    ready: bool
    version: str
    gpus: str
    since: str = ""
    """Since when it is not Ready, UTC; empty if it is."""


@dataclass(frozen=True)
class LayerState:
    """One Helm release, or an object that a layer's record checks."""

    name: str
    namespace: str
    chart: str
    """Chart and version that are installed: `metallb-0.16.1`; empty where none is."""
    ready: bool
    waiting: str
    """What it waits for; empty if it is ready."""


@dataclass(frozen=True)
class Report:
    """Everything that `status` shows."""

    site: str
    stage: str
    simulated: bool
    api: str
    ingress: str
    nodes: list[NodeState]
    layers: list[LayerState]
    tokens: str
    copies: list[ReplicaStatus] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Problems of the cluster as a whole, with their remedies."""
    backups: list[str] = field(default_factory=list)
    """Warnings about the backups, one line each."""

    @property
    def healthy(self) -> bool:
        """Whether every node and layer is ready, and neither copies of snapshots nor the cluster have a problem."""
        ready = all(node.ready for node in self.nodes) and all(layer.ready for layer in self.layers)
        well = ready and not any(one.problem for one in self.copies)
        return bool(self.nodes) and well and not self.trouble


def node_state(node: Object) -> NodeState:
    """Reads a Node object."""
    labels = node["metadata"]["labels"]
    roles = sorted(key.removeprefix(ROLE) for key in labels if key.startswith(ROLE))
    conditions = {condition["type"]: condition for condition in node["status"].get("conditions", [])}
    readiness = conditions.get("Ready", {})
    ready = readiness.get("status") == "True"
    offered = node["status"].get("allocatable", {})
    gpus = [
        f"{count} x {key.removeprefix('nvidia.com/')}" for key, count in sorted(offered.items()) if "nvidia.com" in key
    ]
    return NodeState(
        name=node["metadata"]["name"],
        roles=", ".join(roles),
        ready=ready,
        since="" if ready else readiness.get("lastTransitionTime", "its registration"),
        version=node["status"]["nodeInfo"]["kubeletVersion"],
        gpus=", ".join(gpu for gpu in gpus if not gpu.startswith("0 ")),
    )


def layer_states(kube: Kube, site: Site) -> list[LayerState]:
    """Every Helm release that is installed or that the site's layers need, and every object that a layer's record checks."""
    return [*release_states(site, newest_releases(kube), workload_problems(kube)), *object_states(kube, site)]


def newest_releases(kube: Kube) -> dict[ReleaseKey, Object]:
    """The Secret of each Helm release's newest revision."""
    newest: dict[ReleaseKey, Object] = {}
    for secret in kube.items("/api/v1/secrets", labelSelector="owner=helm"):
        labels = secret["metadata"]["labels"]
        key = (secret["metadata"]["namespace"], labels["name"])
        if key not in newest or int(labels["version"]) > int(newest[key]["metadata"]["labels"]["version"]):
            newest[key] = secret
    return newest


def release_states(
    site: Site, installed: Mapping[ReleaseKey, Object], problems: Mapping[ReleaseKey, list[str]]
) -> list[LayerState]:
    """Releases that are installed, and those that the site's layers need, in the order of namespace and name."""
    needed = {(release.namespace, release.chart) for _, release in installed_releases(site)}
    found = []
    for key in sorted(needed | installed.keys()):
        secret = installed.get(key)
        helm = secret["metadata"]["labels"]["status"] if secret else "not installed"
        waiting = [*([] if helm == HELM_OK else [helm]), *problems.get(key, [])]
        found.append(
            LayerState(
                name=key[1],
                namespace=key[0],
                chart=chart_of(secret) if secret else "",
                ready=not waiting,
                waiting="; ".join(waiting),
            )
        )
    return found


def chart_of(secret: Object) -> str:
    """Chart and version of a Helm release, as `helm list` shows them: `metallb-0.16.1`; empty where the Secret has none.

    The Secret holds the release as JSON, compressed and encoded by Helm, and encoded again by the API.
    """
    data = base64.b64decode(secret.get("data", {}).get("release", ""))
    if not data:
        return ""
    chart = json.loads(gzip.decompress(base64.b64decode(data)))["chart"]["metadata"]
    return f"{chart['name']}-{chart['version']}"


def object_states(kube: Kube, site: Site) -> list[LayerState]:
    """The objects that the records of the site's layers name under `health`."""
    return [
        object_state(record.name, check, kube.find(check.path))
        for record in layers.LAYERS
        if record.is_on(site)
        for check in record.health
    ]


def object_state(layer: str, check: ObjectHealth, found: Object | None) -> LayerState:
    """Whether an object's field has one of the healthy values."""
    value: Any = found
    for key in check.field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    ready = value in check.healthy
    problem = f"{check.path} does not exist" if found is None else f"{check.field} is {value}"
    return LayerState(layer, check.namespace, chart="", ready=ready, waiting="" if ready else problem)


def ingress_address(kube: Kube) -> str:
    """The address that the ingress's Service has; empty while it has none."""
    for service in kube.items("/api/v1/namespaces/ingress-nginx/services"):
        for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
            return str(entry.get("ip", ""))
    return ""


def describe_tokens(generations: TokenGenerations) -> str:
    """Which generation of K3s's tokens is in use, and whether a rotation is unfinished."""
    text = f"server token generation {generations.server_token}, agent token generation {generations.agent_token}"
    return text + (f"; the rotation of the {generations.rotating} is not finished" if generations.rotating else "")


def gather_report(stack: Stack) -> Report:
    """Asks the cluster, and its machines over SSH.

    Raises:
        LyceumError: the cluster's API does not answer.
    """
    engine = Engine(stack)
    kube = Kube.connect(engine)
    site = stack.site
    if kube is None:
        raise LyceumError(
            api_outage.explain_outage(engine)
            or f"the API of {site.title} at {site.network.api_address} does not answer. "
            f"Not up yet: ./lyceum up {stack.name}. It was up before: ./lyceum doctor {site.name}"
        )
    return Report(
        site=site.title,
        stage=stack.stage,
        simulated=site.simulated,
        api=f"https://{site.network.api_address}:6443",
        ingress=ingress_address(kube),
        trouble=find_problems(engine),
        nodes=[node_state(node) for node in kube.items("/api/v1/nodes")],
        layers=layer_states(kube, site),
        tokens=describe_tokens(stack.generations),
        copies=gather_replicas(engine),
        backups=gather_overview(stack, kube, backup_directory(stack, None)).warnings,
    )


def find_problems(engine: Engine) -> list[str]:
    """Problems that only the machines show: whether etcd can be written, and which machine holds the API's address."""
    with ThreadPoolExecutor() as workers:
        return [
            text for text in workers.map(lambda ask: ask(engine), (etcd.find_problem, api_vip.find_problem)) if text
        ]


def print_report(found: Report) -> None:
    """Prints the report for people."""
    mark = {True: "[green]ready[/]", False: "[red]not ready[/]"}
    nodes = Table("node", "roles", "state", "version", "GPUs offered", title=f"{found.site}, stage {found.stage}")
    for node in found.nodes:
        state = mark[node.ready] + (f" since {node.since}" if node.since else "")
        nodes.add_row(node.name, node.roles, state, node.version, node.gpus)
    console.print(nodes)
    table = Table("layer", "namespace", "state", "waits for")
    for layer in found.layers:
        table.add_row(layer.name, layer.namespace, mark[layer.ready], layer.waiting)
    console.print(table)
    for text in found.trouble:
        errors.print(f"[red]✗[/] {escape(text)}")
    console.print(
        f"API      {found.api}\nIngress  {found.ingress or '[red]no address yet[/]'}\nTokens   {found.tokens}"
    )
    for one in found.copies:
        console.print(f"Copies   {describe_replicas(one)}", style="red" if one.problem else None, markup=False)
    for worry in found.backups:
        console.print(f"[yellow]![/] {escape(worry)}")


def status(
    stack: Annotated[str, typer.Argument(help="The stack.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
    wait: Annotated[float, typer.Option(help="How many seconds to wait until everything is ready.", min=0)] = 0,
) -> None:
    """Shows nodes, layers and addresses; exit code 1 if something is not ready."""
    chosen = Stack(stack)
    chosen.enter_network()
    end = time.monotonic() + wait
    # What operators make after their release, such as Prometheus, is not there yet when `up` ends.
    while not (found := gather_report(chosen)).healthy and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    if as_json:
        console.print_json(json.dumps(asdict(found) | {"healthy": found.healthy}))
    else:
        print_report(found)
    if not found.healthy:
        raise typer.Exit(FAILED)
