"""`lyceum etcd status|defragment`: the room that etcd has, and the way out when it is full (fault Q5).

A full etcd (alarm NOSPACE) lets nothing be written any more, and its own clean-up is a write: history has to be dropped
and the files made smaller by hand. Asked on each server over SSH through etcd's JSON gateway, which needs nothing but
curl: K3s has it on port 2382 of the own host (k3s, pkg/etcd, listenClientHTTPURLs), the lab on 2379.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from config.base import MIB, format_size
from config.errors import FAILED, LyceumError, OperationRefusedError
from config.hosts import Role
from ops import audit_log
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.console import console, errors, step
from ops.engine.engine import Engine

app = typer.Typer(no_args_is_help=True, help="The cluster's store.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
CERTIFICATE_DIR = "/var/lib/rancher/k3s/server/tls/etcd"
DEFAULT_QUOTA = 2 * 1024**3
"""Bytes; etcd's own."""
NEARLY_FULL = 0.8
"""Part of the quota from which on it is told."""


@dataclass(frozen=True)
class EtcdMember:
    """etcd on one server.

    Attributes:
        server: Its name.
        size: Bytes that its file takes.
        used: Bytes of it that are in use; the rest a defragmentation gives back.
        quota: Bytes that the file may take.
        revision: The store's newest revision.
        is_leader: Whether it leads.
        alarms: Alarms of the whole cluster: id of the member -> `NOSPACE` or `CORRUPT`.
    """

    server: str
    size: int
    used: int
    quota: int
    revision: int
    is_leader: bool
    alarms: Mapping[str, str]

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if "CORRUPT" in self.alarms.values():
            return "etcd's members differ (alarm CORRUPT): ./lyceum node replace the server that its journal names"
        if "NOSPACE" in self.alarms.values():
            return f"etcd is full (alarm NOSPACE, {self._filled}): nothing can be written any more"
        return f"etcd is nearly full on {self.server} ({self._filled})" if self.size > NEARLY_FULL * self.quota else ""

    @property
    def _filled(self) -> str:
        return f"{self.size / MIB:.0f} of {self.quota / MIB:.0f} MiB"


def etcd_script(calls: str, seconds: int = 60) -> str:
    """A script that makes calls of etcd on a server: `etcd PATH JSON` prints its answer on one line.

    Args:
        calls: The calls.
        seconds: How long to wait for etcd: when it is full, K3s restarts again and again, and etcd with it.
    """
    return f"""set -euo pipefail
cd {CERTIFICATE_DIR}
etcd() {{
    local said
    said=$(curl --silent --show-error --fail-with-body --max-time 120 --cacert server-ca.crt --cert client.crt \\
        --key client.key --data "$2" "https://127.0.0.1:$port/v3/$1") || {{ echo "etcd refuses $1: $said" >&2; return 1; }}
    echo "$said"
}}
answers() {{
    for port in 2382 2379; do ! etcd maintenance/status '{{}}' >/dev/null 2>&1 || return 0; done
    return 1
}}
for ((second = 0; second < {seconds}; second++)); do ! answers || break; sleep 1; done
{calls}"""


STATUS_SCRIPT = etcd_script("etcd maintenance/status '{}'\netcd maintenance/alarm '{\"action\": \"GET\"}'\n", seconds=5)
DEFRAGMENT_SCRIPT = etcd_script("etcd maintenance/defragment '{}'\n")


def compact_script(revision: int) -> str:
    """Drops what was before a revision; says nothing where that has happened already."""
    call = f"""etcd kv/compaction '{{"revision": "{revision}", "physical": true}}'"""
    return etcd_script(
        f'said=$({call} 2>&1) || [[ $said == *"has been compacted"* ]] || {{ echo "$said" >&2; exit 1; }}\n'
    )


def disarm_script(alarms: Mapping[str, str]) -> str:
    """Takes alarms back."""
    bodies = [json.dumps({"action": "DEACTIVATE", "memberID": one, "alarm": kind}) for one, kind in alarms.items()]
    return etcd_script("".join(f"etcd maintenance/alarm '{body}'\n" for body in bodies))


def parse_member(server: str, text: str) -> EtcdMember:
    """Reads what `LOOK` prints."""
    status, alarms = (json.loads(line) for line in text.strip().splitlines())
    size = int(status.get("dbSize", 0))
    return EtcdMember(
        server=server,
        size=size,
        used=int(status.get("dbSizeInUse", size)),
        quota=int(status.get("dbSizeQuota") or DEFAULT_QUOTA),
        revision=int(status["header"].get("revision", 0)),
        is_leader=status["header"]["member_id"] == status.get("leader"),
        alarms={entry.get("memberID", "0"): entry["alarm"] for entry in alarms.get("alarms") or []},
    )


def read_members(servers: Mapping[str, Remote]) -> dict[str, EtcdMember | str]:
    """Asks every server; a text says why one does not answer."""

    def ask(remote: Remote) -> EtcdMember | str:
        try:
            return parse_member(remote.name, remote.run(STATUS_SCRIPT))
        except RemoteError as error:
            return str(error)

    with ThreadPoolExecutor(8) as workers:
        return dict(zip(servers, workers.map(ask, servers.values()), strict=True))


def connect_servers(engine: Engine) -> dict[str, Remote]:
    """The way to each server of a stack."""
    return remotes(engine, tuple(node for node in engine.stack.nodes if node.role is Role.SERVER))


def find_problem(engine: Engine) -> str:
    """What is wrong with etcd, and the remedy; empty where nothing is, or nobody answers."""
    for found in read_members(connect_servers(engine)).values():
        if isinstance(found, EtcdMember) and found.problem:
            return f"{found.problem}. Remedy: ./lyceum etcd defragment {engine.stack.name}"
    return ""


@app.command()
def status(stack: StackName) -> None:
    """Shows how full etcd is on every server; exit code 1 on an alarm, or where it is nearly full."""
    found = read_members(connect_servers(Engine.open(stack)))
    _show_members(found)
    if any(isinstance(one, str) or one.problem for one in found.values()):
        raise typer.Exit(FAILED)


def _show_members(found: Mapping[str, EtcdMember | str]) -> None:
    table = Table("server", "file", "in use", "may grow to", "")
    for server, one in found.items():
        if isinstance(one, str):
            table.add_row(server, "", "", "", f"[red]{one}[/]")
            continue
        sizes = [format_size(max(1, round(size / MIB))) for size in (one.size, one.used, one.quota)]
        table.add_row(server, *sizes, f"[red]{one.problem}[/]" if one.problem else "leads" if one.is_leader else "")
    console.print(table)


@app.command()
def defragment(stack: StackName) -> None:
    """Drops history, makes the files smaller on one server after the other, and takes a NOSPACE alarm back.

    Nothing that Kubernetes still has is touched. A server does not answer while it is at it, seconds at most.
    """
    engine = Engine.open(stack)
    servers = connect_servers(engine)
    with engine.hold_lock():
        found = read_members(servers)
        _show_members(found)
        well = [one for one in found.values() if isinstance(one, EtcdMember)]
        alarms = {identifier: kind for one in well for identifier, kind in one.alarms.items() if kind == "NOSPACE"}
        silent = [server for server, one in found.items() if isinstance(one, str)]
        if not well or (silent and not alarms):
            raise OperationRefusedError(
                f"{', '.join(silent) or 'no server'} does not answer, and a server that is at it does not either: mend or "
                f"replace it first. Nothing was touched"
            )
        audit_log.record_operation(
            stack, "defragment", {"nodes": [one.server for one in well], "alarms": sorted(alarms.values())}
        )
        try:
            reclaim_space(servers, well, alarms)
        except RemoteError as error:
            raise LyceumError(f"{error}\nNothing is lost; run this again to go on") from error
        found = read_members(servers)
    _show_members(found)
    if still := [one.problem for one in found.values() if isinstance(one, EtcdMember) and one.problem]:
        errors.print(
            f"[red]✗[/] {still[0]}: what is in use is needed. Find who writes so much: ./lyceum status {stack}"
        )
        raise typer.Exit(FAILED)


def reclaim_space(servers: Mapping[str, Remote], well: list[EtcdMember], alarms: Mapping[str, str]) -> None:
    """Compacts, defragments one member after the other, the leader last, and disarms the alarms."""
    first = well[0].server
    with step("drop history"):
        servers[first].run(compact_script(max(one.revision for one in well)))
    # The leader last: whoever else leads meanwhile would have to hand over twice.
    for one in sorted(well, key=lambda one: one.is_leader):
        with step(f"defragment {one.server}"):
            servers[one.server].run(DEFRAGMENT_SCRIPT)
    if alarms:
        with step("take the alarm back"):
            servers[first].run(disarm_script(alarms))
