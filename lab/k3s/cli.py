"""The command line of `k3s`: which sub-command is meant, and its settings.

Heavy modules are imported by the sub-command that needs them, so that `k3s kubectl` starts at once.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.k3s import log
from lab.k3s.config import ConfigError, FlagError, load
from lab.k3s.flags import AGENT, SERVER
from lab.k3s.release import kube_environment, running_version

_USAGE = """\
NAME:
   k3s - Kubernetes, but small and simple (the lab's stand-in)

USAGE:
   k3s [global options] command [command options]

COMMANDS:
   server           Run management server
   agent            Run node agent
   kubectl          Run kubectl
   token            Manage tokens
   etcd-snapshot    Manage etcd snapshots
"""


def _server(arguments: Sequence[str]) -> None:
    options, _ = load(arguments, SERVER, os.environ)
    from lab.k3s import server  # noqa: PLC0415

    server.run(options)


def _agent(arguments: Sequence[str]) -> None:
    options, _ = load(arguments, AGENT, os.environ)
    from lab.k3s import agent  # noqa: PLC0415

    agent.run(options)


def _kubectl(arguments: Sequence[str]) -> None:
    from lab.k3s.paths import kube_program  # noqa: PLC0415

    os.environ.update(kube_environment())
    os.environ.setdefault("KUBECONFIG", "/etc/rancher/k3s/k3s.yaml")
    file = Path(os.environ["KUBECONFIG"].split(":")[0])
    if file.exists() and not os.access(file, os.R_OK):
        log.warning(
            f"Unable to read {file}, please start server with --write-kubeconfig-mode or --write-kubeconfig-group "
            "to modify kube config permissions"
        )
    os.execvp(kube_program(), ["kube", "kubectl", *arguments])  # noqa: S606 (the process becomes kubectl)


def _token(arguments: Sequence[str]) -> None:
    from lab.k3s import subcommands  # noqa: PLC0415

    subcommands.run_token(arguments)


def _snapshot(arguments: Sequence[str]) -> None:
    from lab.k3s import subcommands  # noqa: PLC0415

    subcommands.run_snapshot(arguments)


_COMMANDS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "server": _server,
    "agent": _agent,
    "kubectl": _kubectl,
    "token": _token,
    "etcd-snapshot": _snapshot,
}


def version() -> str:
    """Return what `k3s --version` prints, in K3s's form."""
    return f"k3s version {running_version()} (1ab00000)\ngo version go1.26.8"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `k3s`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["--version"], ["-v"]):
        log.print_output(version())
        return
    if not words or words[0] in {"help", "--help", "-h"}:
        log.print_output(_USAGE)
        return
    command = _COMMANDS.get(words[0])
    if command is None:
        sys.stderr.write(f"No help topic for '{words[0]}'\n")
        raise SystemExit(3)
    try:
        command(words[1:])
    except ConfigError as error:
        if isinstance(error, FlagError):
            sys.stderr.write(f"Incorrect Usage: {error}\n\n")
        log.fatal(str(error))
