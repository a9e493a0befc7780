"""`lyceum etcd status|defragment`: how full etcd is, and how to make it writable again (fault Q5)."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from config.base import MIB, format_size
from config.errors import FAILED, LyceumError, OperationRefusedError
from ops import audit_log
from ops.clients.etcd import (
    DEFRAGMENT_SCRIPT,
    EtcdMember,
    compact_script,
    connect_servers,
    disarm_script,
    read_members,
)
from ops.clients.ssh import Remote, RemoteError
from ops.console import console, errors, step
from ops.engine.engine import Engine

app = typer.Typer(no_args_is_help=True, help="Shows how full etcd is, and defragments it.")
StackName = Annotated[str, typer.Argument(help="The stack.")]


@app.command()
def status(stack: StackName) -> None:
    """Shows how full etcd is on every server; exit code 1 if it is nearly full or has an alarm."""
    members = read_members(connect_servers(Engine.open(stack)))
    _show_members(members)
    if any(isinstance(member, str) or member.problem for member in members.values()):
        raise typer.Exit(FAILED)


def _show_members(members: Mapping[str, EtcdMember | str]) -> None:
    table = Table("server", "file", "in use", "may grow to", "")
    for server, member in members.items():
        if isinstance(member, str):
            table.add_row(server, "", "", "", f"[red]{member}[/]")
            continue
        sizes = [format_size(max(1, round(size / MIB))) for size in (member.size, member.used, member.quota)]
        table.add_row(
            server, *sizes, f"[red]{member.problem}[/]" if member.problem else "leader" if member.is_leader else ""
        )
    console.print(table)


@app.command()
def defragment(stack: StackName) -> None:
    """Compacts history, defragments one server after the other, and disarms a NOSPACE alarm.

    No object of Kubernetes is deleted. Each server does not answer during its defragmentation, for seconds at most.
    """
    engine = Engine.open(stack)
    servers = connect_servers(engine)
    with engine.hold_lock():
        members = read_members(servers)
        _show_members(members)
        answering = [member for member in members.values() if isinstance(member, EtcdMember)]
        alarms = {
            identifier: kind for member in answering for identifier, kind in member.alarms.items() if kind == "NOSPACE"
        }
        unreachable = [server for server, member in members.items() if isinstance(member, str)]
        if not answering or (unreachable and not alarms):
            raise OperationRefusedError(
                f"{', '.join(unreachable) or 'no server'} does not answer, and a server does not answer during its "
                f"defragmentation either: repair or replace it first. Nothing was changed"
            )
        audit_log.record_operation(
            stack, "defragment", {"nodes": [member.server for member in answering], "alarms": sorted(alarms.values())}
        )
        try:
            reclaim_space(servers, answering, alarms)
        except RemoteError as error:
            raise LyceumError(f"{error}\nNothing is lost; run this command again to continue") from error
        members = read_members(servers)
    _show_members(members)
    if problems := [member.problem for member in members.values() if isinstance(member, EtcdMember) and member.problem]:
        errors.print(
            f"[red]✗[/] {problems[0]}: defragmentation is not enough. Find the client that writes so much: ./lyceum status {stack}"
        )
        raise typer.Exit(FAILED)


def reclaim_space(servers: Mapping[str, Remote], members: list[EtcdMember], alarms: Mapping[str, str]) -> None:
    """Compacts, defragments one member after the other, the leader last, and disarms the alarms."""
    first = members[0].server
    with step("compact history"):
        servers[first].run(compact_script(max(member.revision for member in members)))
    # The leader last, so that the leadership moves only once.
    for member in sorted(members, key=lambda member: member.is_leader):
        with step(f"defragment {member.server}"):
            servers[member.server].run(DEFRAGMENT_SCRIPT)
    if alarms:
        with step("disarm the alarm"):
            servers[first].run(disarm_script(alarms))
