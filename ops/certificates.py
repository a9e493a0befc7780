"""`lyceum certificates`: when K3s's certificates end, and their renewal before they do.

K3s renews what ends within 120 days whenever it starts; a cluster that runs for a year without a restart stops (fault C1).
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from config.hosts import Node, Role
from ops import journal
from ops.console import FAILED, REFUSED, console, errors, fail, step
from ops.kube import Kube
from ops.nodes.commands import begin
from ops.nodes.leave import reachable
from ops.nodes.objections import healthy_server
from ops.nodes.picture import is_ready, is_server
from ops.remote import Remote, RemoteError, remotes
from ops.wait import until

RENEWED_BELOW = 120
"""Days before its end at which K3s makes a certificate anew at a start (K3s, certificate rotation)."""
SETTLE_SECONDS = 300
LIST = """cd /var/lib/rancher/k3s
find server/tls agent -name '*.crt' ! -name '*-ca.crt' ! -name '*-ca.nochain.crt' 2>/dev/null | while read -r file; do
    end=$(openssl x509 -noout -enddate -in "$file" 2>/dev/null) && echo "$file ${end#notAfter=}"
done
"""
"""Leaf certificates with their ends: CAs live ten years and are rotated by another procedure."""


@dataclass(frozen=True)
class Ending:
    """The certificate of a machine that ends first.

    Attributes:
        file: Which, below /var/lib/rancher/k3s.
        days: Days that are left.
    """

    file: str
    days: int


def soonest(text: str, now: float) -> Ending | None:
    """Reads what `LIST` prints; None for a machine without certificates."""
    found = []
    for line in text.splitlines():
        file, _, end = line.partition(" ")
        date = datetime.strptime(end.strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
        found.append(Ending(file, int((date.timestamp() - now) // 86400)))
    return min(found, key=lambda ending: ending.days, default=None)


def certificates(
    stack: Annotated[str, typer.Argument(help="The stack.")],
    *,
    renew: Annotated[bool, typer.Option("--renew", help="Restart K3s where certificates end soon.")] = False,
) -> None:
    """Shows which certificate of each node ends first; exit code 1 if one ends within 120 days."""
    engine = begin(stack)
    nodes = tuple(node for node in engine.stack.nodes if node.in_cluster)
    machines = remotes(engine, nodes)
    endings = _ask(machines)
    _show(endings)
    due = [node for node in nodes if (ending := endings.get(node.name)) and ending.days < RENEWED_BELOW]
    if due and not renew:
        fail(f"{len(due)} node(s) need a restart of K3s: ./lyceum certificates {stack} --renew", FAILED)
    if not due:
        return
    kube = reachable(engine)
    if kube is None:
        fail(f"{stack} has no cluster")
    journal.record(stack, "renew certificates", {"nodes": [node.name for node in due]})
    with engine.alone():
        # Servers first: agents get their certificates from them.
        for node in sorted(due, key=lambda one: one.role is not Role.SERVER):
            _restart(kube, node, machines[node.name])
    _show(_ask({node.name: machines[node.name] for node in due}))


def _ask(machines: dict[str, Remote]) -> dict[str, Ending | None]:
    def one(remote: Remote) -> Ending | None:
        try:
            return soonest(remote.run(LIST), time.time())
        except RemoteError as error:
            errors.print(f"[yellow]![/] {error}")
            return None

    with ThreadPoolExecutor(16) as workers:
        return dict(zip(machines, workers.map(one, machines.values()), strict=True))


def _show(endings: dict[str, Ending | None]) -> None:
    table = Table("node", "ends first", "days left")
    for name, ending in endings.items():
        soon = ending is not None and ending.days < RENEWED_BELOW
        days = "unknown" if ending is None else f"[red]{ending.days}[/]" if soon else str(ending.days)
        table.add_row(name, ending.file if ending else "", days)
    console.print(table)


def _restart(kube: Kube, node: Node, remote: Remote) -> None:
    """Restarts K3s on one node; a server only while all others vote."""
    server = node.role is Role.SERVER
    others = [one for one in kube.items("/api/v1/nodes") if is_server(one) and one["metadata"]["name"] != node.name]
    if server and (sick := [one["metadata"]["name"] for one in others if not healthy_server(one)]):
        fail(f"{node.name} is not restarted while {', '.join(sick)} is not healthy: quorum would be lost", REFUSED)
    with step(f"restart K3s on {node.name}"):
        remote.run(f"systemctl restart {'k3s' if server else 'k3s-agent'}")

        def well() -> bool:
            found = kube.find(f"/api/v1/nodes/{node.name}")
            return found is not None and (healthy_server(found) if server else is_ready(found))

        until(f"{node.name} to be well", SETTLE_SECONDS, well)
