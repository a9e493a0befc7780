"""`lyceum certificates`: expiry of K3s's certificates, and their renewal before or after it.

At each start K3s renews certificates that expire within 120 days. A cluster that runs for a year without a restart stops (fault C1).
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
from ops.credentials.rotate import require_no_rotation
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.nodes.replace import first_server
from ops.nodes.rolling_restart import RollingRestart, servers_and_agents

RENEWAL_DAYS = 120
"""K3s renews certificates at a start if fewer days are left (K3s, certificate rotation)."""
KUBECONFIG = "kubeconfig"
"""Row of the administrator's certificate, which is in the stack's state."""
LIST_SCRIPT = """cd /var/lib/rancher/k3s
find server/tls agent -name '*.crt' ! -name '*-ca.crt' ! -name '*-ca.nochain.crt' 2>/dev/null | while read -r file; do
    end=$(openssl x509 -noout -enddate -in "$file" 2>/dev/null) && echo "$file ${end#notAfter=}"
done
"""
"""Prints leaf certificates and their expiry. CAs are valid for ten years and renewed by another procedure."""


@dataclass(frozen=True)
class CertificateExpiry:
    """Expiry of a certificate.

    Attributes:
        file: Path below /var/lib/rancher/k3s.
        days: Days until it expires; negative after that.
    """

    file: str
    days: int

    @property
    def due(self) -> bool:
        """Whether K3s renews it at its next start."""
        return self.days < RENEWAL_DAYS

    def __str__(self) -> str:
        """The days left, or since when it has expired."""
        return f"expired {-self.days} days ago" if self.days < 0 else str(self.days)


def earliest_expiry(text: str, now: float) -> CertificateExpiry | None:
    """The earliest expiry in the output of LIST_SCRIPT; None for a machine without certificates."""
    found = []
    for line in text.splitlines():
        file, _, end = line.partition(" ")
        date = datetime.strptime(end.strip(), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
        found.append(CertificateExpiry(file, _days_until(date, now)))
    return min(found, key=lambda expiry: expiry.days, default=None)


def kubeconfig_expiry(text: str, now: float) -> CertificateExpiry | None:
    """Expiry of the administrator's certificate in a kubeconfig; None without a kubeconfig."""
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
    renew: Annotated[bool, typer.Option("--renew", help="Restart K3s where certificates are due for renewal.")] = False,
) -> None:
    """Shows the certificate of each node that expires first; exit code 1 if one expires within 120 days."""
    engine = Engine.open(stack)
    nodes = tuple(node for node in engine.stack.nodes if node.in_cluster)
    machines = remotes(engine, nodes)
    expiries = _read_expiries(machines) | {KUBECONFIG: kubeconfig_expiry(engine.kubeconfig(), time.time())}
    _print_expiries(expiries)
    due = due_certificates(expiries)
    if due and not renew:
        expired = [name for name in due if (expiry := expiries[name]) and expiry.days < 0]
        also = f"; expired: {', '.join(expired)}" if expired else ""
        raise LyceumError(
            f"{len(due)} certificate(s) expire within {RENEWAL_DAYS} days{also}: ./lyceum certificates {stack} --renew"
        )
    if not due:
        return
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        audit_log.record_operation(stack, "renew certificates", {"nodes": due})
        _restart_k3s(engine, nodes, machines)
        _refresh_kubeconfig(engine, lock)
    renewed = _read_expiries(machines) | {KUBECONFIG: kubeconfig_expiry(engine.kubeconfig(), time.time())}
    _print_expiries({name: renewed[name] for name in due})
    if still := due_certificates(renewed):
        raise LyceumError(
            f"{', '.join(still)}: K3s was restarted and did not renew its certificates; see `journalctl -u k3s` there"
        )


def due_certificates(expiries: Mapping[str, CertificateExpiry | None]) -> list[str]:
    """Names of those whose certificate K3s renews at its next start."""
    return [name for name, expiry in expiries.items() if expiry and expiry.due]


def _read_expiries(machines: Mapping[str, Remote]) -> dict[str, CertificateExpiry | None]:
    def read(remote: Remote) -> CertificateExpiry | None:
        try:
            return earliest_expiry(remote.run(LIST_SCRIPT), time.time())
        except RemoteError as error:
            errors.print(f"[yellow]![/] {error}")
            return None

    with ThreadPoolExecutor(16) as workers:
        return dict(zip(machines, workers.map(read, machines.values()), strict=True))


def _print_expiries(expiries: Mapping[str, CertificateExpiry | None]) -> None:
    table = Table("node", "expires first", "days left")
    for name, expiry in expiries.items():
        days = "unknown" if expiry is None else f"[red]{expiry}[/]" if expiry.due else str(expiry)
        table.add_row(name, expiry.file if expiry else "", days)
    console.print(table)


def _restart_k3s(engine: Engine, nodes: tuple[Node, ...], machines: Mapping[str, Remote]) -> None:
    """Restarts K3s where certificates are due: servers one at a time, then agents."""
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
    """Runs the script of the first server again, which reads the administrator's new certificate into the stack's state."""
    first = first_server(engine.stack.nodes)
    state = engine.export()
    if (urn := state.k3s_commands.get(first)) is None:
        return
    providers = [provider.urn for provider in state.cluster_providers]
    # No other resource: other changes in the site file have to wait for `up`.
    if code := engine.up(lock, "renew certificates", only=providers, replace_only=[urn]):
        raise LyceumError(
            "the certificates are renewed, but the stack's state still has the old kubeconfig; correct the errors above, then "
            "run this again",
            exit_code=code,
        )
