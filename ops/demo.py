"""`lyceum demo`: a two-node GPU cluster with every layer, on the embedded campus, and what to do with it next."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from config.errors import LyceumError
from ops.console import console, took
from ops.engine.engine import Engine, State
from ops.engine.pending_operations import VM
from ops.engine.stack import PROJECT, Stack

STACK = "dev"


def demo(
    *, down: Annotated[bool, typer.Option("--down", help="End the demo and everything it started.")] = False
) -> None:
    """Brings up the embedded campus and a two-node GPU cluster on it; safe to run again."""
    if down:
        _call("lab", "down")
        Engine(Stack(STACK)).forget()
        return
    begun = datetime.now(UTC)
    console.rule("the campus")
    _call("lab", "up")
    campus_up = datetime.now(UTC)
    console.rule("the cluster and its layers")
    _call("up", STACK, "--yes")
    done = datetime.now(UTC)
    console.rule("ready")
    _call("status", STACK)
    ends = {"campus": campus_up} | phases(Engine(Stack(STACK)).export(), campus_up) | {"checks and summary": done}
    console.print(f"\nTook {took((done - begun).total_seconds())}: {split(begun, ends)}.\n")
    console.print(NEXT)


def phases(state: State, since: datetime) -> dict[str, datetime]:
    """When the last machine, the last node and the last layer of this run were made; pure."""
    kinds = {"machines": VM, "Kubernetes": "command:remote:Command", "layers": "kubernetes:"}
    ends: dict[str, datetime] = {}
    for title, kind in kinds.items():
        made = [
            datetime.fromisoformat(entry["created"])
            for entry in state["deployment"].get("resources") or []
            if entry["type"].startswith(kind) and "created" in entry
        ]
        if made and max(made) > since:
            ends[title] = max(made)
    return ends


def split(begun: datetime, ends: dict[str, datetime]) -> str:
    """How long each phase took, one after the other; pure."""
    parts = []
    for title, end in ends.items():
        parts.append(f"{title} {took((end - begun).total_seconds())}")
        begun = end
    return ", ".join(parts)


def _call(*arguments: str) -> None:
    """Runs one of our own commands, so that the demo is nothing but what a person could type."""
    code = subprocess.run([sys.executable, "-m", "ops", *arguments], cwd=PROJECT, check=False).returncode
    if code:
        raise LyceumError(
            f"./lyceum {' '.join(arguments)} ended with code {code}; run it again: it goes on where it stopped",
            exit_code=code,
        )


NEXT = """[bold]What is real, what is not[/]
  Real: the Pulumi engine and its providers, SSH, etcd, the Kubernetes API, controllers and scheduler.
  Simulated: Proxmox, virtual machines (namespaces), K3s's own binary, containers, GPUs. See docs/lab.md.

[bold]Try next[/]
  ./lyceum lab kubectl get nodes -L accelerator,gpu-model   the cluster
  ./lyceum lab ssh gpu-1                                    a machine
  ./lyceum up dev --stage alpha2                            two more GPU nodes
  ./lyceum preview prod                                     the plan for forty workstations
  ./lyceum lab status                                       what runs, what is simulated
  make demo-down                                            the end of it
"""
