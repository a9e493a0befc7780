"""`lyceum demo`: a two-node GPU cluster with every layer on the embedded campus, and what to try with it."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from config.errors import LyceumError
from config.paths import PROJECT
from config.resource_names import COMMAND_TYPE, VM_TYPE
from lab.images import ensure_all
from lab.rundir import RunDir
from ops.console import console, format_duration
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State
from ops.engine.stack import Stack

STACK = "dev"
LAB = "lab"
"""The campus that `lab up` makes where none is named."""
READY_SECONDS = 300
"""How long Prometheus and Alertmanager, which their operator makes after its release, may take."""
TRUTH = """[bold]What is real, what is not[/]
  Real: the Pulumi engine and its providers, SSH, etcd, the Kubernetes API, controllers and scheduler; on the GPU workers kubelet,
  containerd, and the pods of Kueue, cert-manager, MetalLB, Trainer, JupyterHub and Prometheus; the login that JupyterHub asks.
  Simulated: Proxmox, virtual machines (namespaces), K3s's own binary, GPUs, Ceph, pods whose images the lab lacks. See docs/lab.md.
"""
NEXT = (
    ("./lyceum lab kubectl get nodes -L accelerator,gpu-model", "the cluster"),
    ("./lyceum lab ssh gpu-1", "a machine"),
    ("./lyceum lab open", "the notebooks and dashboards in a browser of this machine; it says who can log in"),
    (f"./lyceum up {STACK} --stage alpha2", "two more GPU nodes"),
    ("./lyceum show forty-workstations --stage all", "what a site of forty workstations becomes"),
    ("./lyceum lab status", "what runs, what is simulated"),
    ("make demo-down", "ends the demo"),
)
"""Commands to try, each with what it shows. They work as printed: without a Proxmox, a passphrase or a secret."""


def demo(
    *, down: Annotated[bool, typer.Option("--down", help="End the demo and everything it started.")] = False
) -> None:
    """Brings up the embedded campus and a two-node GPU cluster on it; safe to run again."""
    if down:
        _run_command("lab", "down")
        Engine(Stack(STACK)).remove_stack()
        return
    ensure_all()
    stack = Engine(Stack(STACK))
    if not RunDir.of(LAB).path.exists():
        stack.remove_stack()  # `lab down` has ended the machines that a state of an earlier demo names
    begun = datetime.now(UTC)
    console.rule("the campus")
    _run_command("lab", "up")
    campus_up = datetime.now(UTC)
    console.rule("the cluster and its layers")
    _run_command("up", STACK, "--yes")
    console.rule("ready")
    _run_command("status", STACK, "--wait", str(READY_SECONDS))
    done = datetime.now(UTC)
    ends = {"campus": campus_up} | phase_ends(stack.export(), campus_up) | {"checks and summary": done}
    console.print(f"\nTook {format_duration((done - begun).total_seconds())}: {format_phases(begun, ends)}.\n")
    console.print(TRUTH)
    console.print("[bold]Try next[/]")
    width = max(len(command) for command, _ in NEXT)
    for command, shows in NEXT:
        console.print(f"  {command:<{width}}   {shows}", soft_wrap=True)


def phase_ends(state: State, since: datetime) -> dict[str, datetime]:
    """When the last machine, the last node and the last layer of this run were created; pure."""
    ends: dict[str, datetime] = {}
    for one in state.resources:
        if one.type == VM_TYPE:
            title = "machines"
        elif one.in_cluster:
            title = "layers"
        elif one.type == COMMAND_TYPE:
            title = "Kubernetes"
        else:
            continue
        if one.created and (made := datetime.fromisoformat(one.created)) > since:
            ends[title] = max(made, ends.get(title, made))
    return {title: ends[title] for title in ("machines", "Kubernetes", "layers") if title in ends}


def format_phases(begun: datetime, ends: dict[str, datetime]) -> str:
    """How long each phase took, one after the other; pure."""
    parts = []
    for title, end in ends.items():
        parts.append(f"{title} {format_duration((end - begun).total_seconds())}")
        begun = end
    return ", ".join(parts)


def _run_command(*arguments: str) -> None:
    """Runs one of the commands as an operator would type it."""
    code = subprocess.run([sys.executable, "-m", "ops", *arguments], cwd=PROJECT, check=False).returncode
    if code:
        raise LyceumError(
            f"./lyceum {' '.join(arguments)} ended with code {code}; run it again to continue",
            exit_code=code,
        )
