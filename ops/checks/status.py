"""`lyceum status`: nodes, layers and addresses as they are now."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from config.errors import FAILED, LyceumError
from config.tokens import TokenGenerations
from ops.backup.replicas import ReplicaStatus, describe_replicas, gather_replicas
from ops.backup.transfer import backup_directory, gather_overview
from ops.checks import api_outage, api_vip
from ops.clients import etcd
from ops.clients.kubernetes import Kube, Object
from ops.console import console, errors
from ops.engine.engine import Engine
from ops.engine.stack import Stack

ROLE = "node-role.kubernetes.io/"
HELM_OK = "deployed"


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
    """One Helm release and the workloads in its namespace that are not ready."""

    name: str
    namespace: str
    chart: str
    ready: bool
    waiting: str


@dataclass(frozen=True)
class Report:
    """Everything `status` tells."""

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
    """What is wrong with the cluster as a whole, with its remedy."""
    backups: list[str] = field(default_factory=list)
    """What is worrying about them, in one line each."""

    @property
    def healthy(self) -> bool:
        """Whether all is ready, the copies of snapshots can be relied on, and nothing else is wrong."""
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


def workload_problem(workload: Object) -> str:
    """Why a Deployment, StatefulSet or DaemonSet is not ready; empty if it is."""
    kind, status = workload["kind"], workload.get("status", {})
    if kind == "DaemonSet":
        wanted, have = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wanted, have = workload["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    name = workload["metadata"]["name"]
    return "" if have >= wanted else f"{kind} {name} {have}/{wanted}"


def layers(kube: Kube) -> list[LayerState]:
    """Every Helm release, with what its namespace still waits for."""
    records = kube.items("/api/v1/secrets", labelSelector="owner=helm")
    newest: dict[tuple[str, str], Object] = {}
    for record in records:
        labels = record["metadata"]["labels"]
        key = (record["metadata"]["namespace"], labels["name"])
        if key not in newest or int(labels["version"]) > int(newest[key]["metadata"]["labels"]["version"]):
            newest[key] = record
    problems: dict[tuple[str, str], list[str]] = {}
    for kind in ("deployments", "statefulsets", "daemonsets"):
        for workload in kube.items(f"/apis/apps/v1/{kind}"):
            # A list leaves out the kind of its items.
            workload["kind"] = {"deployments": "Deployment", "statefulsets": "StatefulSet"}.get(kind, "DaemonSet")
            meta = workload["metadata"]
            release = meta.get("annotations", {}).get("meta.helm.sh/release-name", "")
            if problem := workload_problem(workload):
                problems.setdefault((meta["namespace"], release), []).append(problem)
    return [
        LayerState(
            name=name,
            namespace=namespace,
            chart=record["metadata"]["labels"]["status"],
            ready=record["metadata"]["labels"]["status"] == HELM_OK and not problems.get((namespace, name)),
            waiting="; ".join(problems.get((namespace, name), [])),
        )
        for (namespace, name), record in sorted(newest.items())
    ]


def ingress_address(kube: Kube) -> str:
    """The address that the ingress's Service really holds."""
    for service in kube.items("/api/v1/namespaces/ingress-nginx/services"):
        for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
            return str(entry.get("ip", ""))
    return ""


def tokens(generations: TokenGenerations) -> str:
    """Which generation of K3s's tokens is in use, and what is not finished."""
    said = f"server token generation {generations.server_token}, agent token generation {generations.agent_token}"
    return said + (f"; the rotation of the {generations.rotating} is not finished" if generations.rotating else "")


def report(stack: Stack) -> Report:
    """Asks the cluster."""
    engine = Engine(stack)
    kube = Kube.of(engine)
    site = stack.site
    if kube is None:
        raise LyceumError(
            api_outage.reason(engine)
            or f"the API of {site.title} at {site.network.api_address} does not answer. "
            f"Not up yet: ./lyceum up {stack.name}. It was up before: ./lyceum doctor {site.name}"
        )
    return Report(
        site=site.title,
        stage=stack.stage,
        simulated=site.simulated,
        api=f"https://{site.network.api_address}:6443",
        ingress=ingress_address(kube),
        trouble=troubles(engine),
        nodes=[node_state(node) for node in kube.items("/api/v1/nodes")],
        layers=layers(kube),
        tokens=tokens(stack.generations),
        copies=gather_replicas(engine),
        backups=gather_overview(stack, kube, backup_directory(stack, None)).warnings,
    )


def troubles(engine: Engine) -> list[str]:
    """What the API cannot tell of itself, asked on the machines: whether etcd can be written, who holds the address."""
    with ThreadPoolExecutor() as workers:
        return [text for text in workers.map(lambda ask: ask(engine), (etcd.find_problem, api_vip.trouble)) if text]


def show(found: Report) -> None:
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
) -> None:
    """Shows nodes, layers and addresses; exit code 1 if something is not ready."""
    chosen = Stack(stack)
    chosen.enter_network()
    found = report(chosen)
    if as_json:
        console.print_json(json.dumps(asdict(found) | {"healthy": found.healthy}))
    else:
        show(found)
    if not found.healthy:
        raise typer.Exit(FAILED)
