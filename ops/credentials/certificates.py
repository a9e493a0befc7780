"""`lyceum certificates`: when K3s's certificates end, and their renewal before they do, or after.

K3s renews what ends within 120 days whenever it starts; a cluster that runs for a year without a restart stops (fault C1).
"""

import base64
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Annotated

import typer
import yaml
from cryptography import x509
from rich.table import Table

from components.cluster.bootstrap import unit_name
from config.errors import LyceumError
from config.hosts import Node
from ops import audit_log
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.console import console, errors
from ops.credentials.guard import require_no_rotation
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.nodes.replace import first_server
from ops.nodes.rolling_restart import RollingRestart, servers_and_agents

RENEWAL_DAYS = 120
"""Days before its end at which K3s makes a certificate anew at a start (K3s, certificate rotation)."""
KUBECONFIG = "kubeconfig"
"""The row of the administrator's certificate, which is in the stack's state."""
LIST_SCRIPT = """cd /var/lib/rancher/k3s
find server/tls agent -name '*.crt' ! -name '*-ca.crt' ! -name '*-ca.nochain.crt' 2>/dev/null | while read -r file; do
    end=$(openssl x509 -noout -enddate -in "$file" 2>/dev/null) && echo "$file ${end#notAfter=}"
done
"""
"""Leaf certificates with their ends: CAs live ten years and are rotated by another procedure."""


@dataclass(frozen=True)
class CertificateExpiry:
    """The certificate that ends first.

    Attributes:
        file: Which, below /var/lib/rancher/k3s.
        days: Days that are left; below zero when it has ended.
    """

    file: str
    days: int

    @property
    def due(self) -> bool:
        """Whether a start of K3s makes it anew."""
        return self.days < RENEWAL_DAYS

    def __str__(self) -> str:
        """Days that are left, or since when it is of no use."""
        return f"expired {-self.days} days ago" if self.days < 0 else str(self.days)


def earliest_expiry(text: str, now: float) -> CertificateExpiry | None:
    """Reads what `LIST` prints; None for a machine without certificates."""
    found = []
    for line in text.splitlines():
        file, _, end = line.partition(" ")
        date = datetime.strptime(end.strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
        found.append(CertificateExpiry(file, _days_until(date, now)))
    return min(found, key=lambda ending: ending.days, default=None)


def kubeconfig_expiry(text: str, now: float) -> CertificateExpiry | None:
    """When the administrator's certificate in a kubeconfig ends; None without a kubeconfig."""
    if not text:
        return None
    pem = base64.b64decode(yaml.safe_load(text)["users"][0]["user"]["client-certificate-data"])
    return CertificateExpiry(
        "client-admin.crt", _days_until(x509.load_pem_x509_certificate(pem).not_valid_after_utc, now)
    )


def _days_until(end: datetime, now: float) -> int:
    return int((end.timestamp() - now) // 86400)


def show_certificates(
    stack: Annotated[str, typer.Argument(help="The stack.")],
    *,
    renew: Annotated[
        bool, typer.Option("--renew", help="Restart K3s where certificates end soon or have ended.")
    ] = False,
) -> None:
    """Shows which certificate of each node ends first; exit code 1 if one ends within 120 days."""
    engine = Engine.open(stack)
    nodes = tuple(node for node in engine.stack.nodes if node.in_cluster)
    machines = remotes(engine, nodes)
    endings = _read_expiries(machines) | {KUBECONFIG: kubeconfig_expiry(engine.kubeconfig(), time.time())}
    _print_expiries(endings)
    due = due_certificates(endings)
    if due and not renew:
        ended = [name for name in due if (ending := endings[name]) and ending.days < 0]
        said = f"; {', '.join(ended)} cannot be used any more" if ended else ""
        raise LyceumError(
            f"{len(due)} certificate(s) end within {RENEWAL_DAYS} days{said}: ./lyceum certificates {stack} --renew"
        )
    if not due:
        return
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        audit_log.record_operation(stack, "renew certificates", {"nodes": due})
        _restart_k3s(engine, nodes, machines)
        _refresh_kubeconfig(engine, lock)
    left = _read_expiries(machines) | {KUBECONFIG: kubeconfig_expiry(engine.kubeconfig(), time.time())}
    _print_expiries({name: left[name] for name in due})
    if still := due_certificates(left):
        raise LyceumError(
            f"{', '.join(still)}: K3s was started anew and kept its certificates; `journalctl -u k3s` there says why"
        )


def due_certificates(endings: Mapping[str, CertificateExpiry | None]) -> list[str]:
    """Those that a start of K3s makes anew."""
    return [name for name, ending in endings.items() if ending and ending.due]


def _read_expiries(machines: Mapping[str, Remote]) -> dict[str, CertificateExpiry | None]:
    def one(remote: Remote) -> CertificateExpiry | None:
        try:
            return earliest_expiry(remote.run(LIST_SCRIPT), time.time())
        except RemoteError as error:
            errors.print(f"[yellow]![/] {error}")
            return None

    with ThreadPoolExecutor(16) as workers:
        return dict(zip(machines, workers.map(one, machines.values()), strict=True))


def _print_expiries(endings: Mapping[str, CertificateExpiry | None]) -> None:
    table = Table("node", "ends first", "days left")
    for name, ending in endings.items():
        days = "unknown" if ending is None else f"[red]{ending}[/]" if ending.due else str(ending)
        table.add_row(name, ending.file if ending else "", days)
    console.print(table)


def _restart_k3s(engine: Engine, nodes: tuple[Node, ...], machines: Mapping[str, Remote]) -> None:
    """Starts K3s anew where certificates are due: servers one by one, then agents."""
    rolling = RollingRestart(engine.stack.site, machines, lambda node: f"systemctl restart {unit_name(node.role)}")
    servers, agents = servers_and_agents(nodes)
    rolling.restart_servers(
        servers,
        lambda: due_certificates(
            _read_expiries({node.name: machines[node.name] for node in servers if node.name in machines})
        ),
    )
    known = {node.name: machines[node.name] for node in agents if node.name in machines}
    names = set(due_certificates(_read_expiries(known)))
    rolling.restart_agents(servers, [node for node in agents if node.name in names])


def _refresh_kubeconfig(engine: Engine, lock: IO[str]) -> None:
    """Takes the administrator's new certificate into the stack's state: the first server's script prints it."""
    first = first_server(engine.stack.nodes)
    state = engine.export()
    if (urn := state.k3s_commands.get(first)) is None:
        return
    providers = [provider.urn for provider in state.cluster_providers]
    # No other resource: whatever else the files ask for has nothing to do with this.
    if code := engine.up(lock, "renew certificates", only=providers, replace_only=[urn]):
        raise LyceumError(
            "the certificates are new, and the stack's state still has the old kubeconfig; mend what is said above, then "
            "run this again",
            exit_code=code,
        )
