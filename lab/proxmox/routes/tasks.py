"""`nodes/N/tasks`."""

from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.router import RouteTable

table = RouteTable()


def _may_audit(cluster: Cluster, call: Call) -> bool:
    return cluster.access.has(call.identity, f"/nodes/{call.node}", "Sys.Audit")


@table.get("nodes/{node}/tasks")
async def list_tasks(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Tasks of a node, newest first: own ones, all for an auditor; ended ones, unless `source` asks for others.

    `vmid` and `typefilter` filter.
    """
    who, all_of_them = call.identity, _may_audit(cluster, call)
    source = call.text("source", "archive")
    found = []
    for record in reversed(cluster.state.tasks.values()):
        if record.node != call.node or not (all_of_them or record.user == who.name):
            continue
        if source != "all" and (record.exitstatus is None) != (source == "active"):
            continue
        if call.has("typefilter") and record.type != call.text("typefilter"):
            continue
        if call.has("vmid") and record.id != call.text("vmid"):
            continue
        entry = record.model_dump(exclude={"log", "exitstatus"}, exclude_none=True)
        found.append(entry if record.exitstatus is None else entry | {"status": record.exitstatus})
    return found[:50]


@table.get("nodes/{node}/tasks/{upid}/status")
async def read_task_status(cluster: Cluster, call: Call) -> dict[str, str | int]:
    """Whether a task runs, and how it ended."""
    return await cluster.tasks.status(call["upid"], call.identity, may_audit=_may_audit(cluster, call))


@table.get("nodes/{node}/tasks/{upid}/log")
async def read_task_log(cluster: Cluster, call: Call) -> list[dict[str, str | int]]:
    """Lines of a task's log, numbered from 1."""
    record = cluster.tasks.find(call["upid"], call.identity, may_audit=_may_audit(cluster, call))
    begin = call.number("start", call.text("start", "0"))
    end = begin + call.number("limit", call.text("limit", "50"))
    lines: list[dict[str, str | int]] = [{"n": number, "t": line} for number, line in enumerate(record.log, start=1)]
    return lines[begin:end]
