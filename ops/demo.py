"""`lyceum demo`: a two-node GPU cluster with every layer, on the embedded campus, and what to do with it next."""

import shutil
import subprocess
import sys
import time
from typing import Annotated

import typer

from ops.console import console, fail, took
from ops.stack import PROJECT, STATE

STACK = "dev"


def demo(
    *, down: Annotated[bool, typer.Option("--down", help="End the demo and everything it started.")] = False
) -> None:
    """Brings up the embedded campus and a two-node GPU cluster on it; safe to run again."""
    if down:
        _call("lab", "down")
        shutil.rmtree(STATE / "state", ignore_errors=True)
        return
    spent: dict[str, float] = {}
    for title, arguments in (
        ("the campus", ("lab", "up")),
        ("the cluster and its layers", ("up", STACK, "--yes")),
    ):
        console.rule(title)
        start = time.monotonic()
        _call(*arguments)
        spent[title] = time.monotonic() - start
    console.rule("ready")
    _call("status", STACK)
    split = ", ".join(f"{title} {took(seconds)}" for title, seconds in spent.items())
    console.print(f"\nTook {took(sum(spent.values()))}: {split}.\n")
    console.print(NEXT)


def _call(*arguments: str) -> None:
    """Runs one of our own commands, so that the demo is nothing but what a person could type."""
    code = subprocess.run([sys.executable, "-m", "ops", *arguments], cwd=PROJECT, check=False).returncode
    if code:
        fail(f"./lyceum {' '.join(arguments)} ended with code {code}; run it again: it goes on where it stopped", code)


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
