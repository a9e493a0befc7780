"""`python -m ops`: assembles the command from its rooms."""

import sys

import typer
from rich.markup import escape

from ops.console import FAILED, errors
from ops.lazy import commands

COMMANDS = {
    "init": "ops.site.init:init_site",
    "validate": "ops.site.validate:validate_sites",
    "show": "ops.site.show:show_site",
    "doctor": "ops.checks.doctor.command:doctor",
    "demo": "ops.demo:demo",
    "preview": "ops.engine.commands:preview",
    "up": "ops.engine.commands:up",
    "status": "ops.checks.status:status",
    "restore": "ops.backup.restore:restore",
    "certificates": "ops.credentials.certificates:show_certificates",
    "destroy": "ops.engine.commands:destroy",
    "lab": "lab.cli:app",
    "node": "ops.nodes.commands:app",
    "backup": "ops.backup.commands:app",
    "backup bring": "ops.backup.pull:pull_backup",
    "upgrade": "ops.upgrade.commands:app",
    "etcd": "ops.clients.etcd:app",
    "proxmox": "ops.site.prepare_proxmox:app",
    "secrets": "ops.credentials.secrets:app",
    "secrets rotate": "ops.credentials.rotate:rotate_token",
}
FORESEEN = (
    "ops.backup.metadata:BackupError",
    "components.proxmox.client:PveError",
    "config.validate:SiteError",
    "config.secrets:MissingSecretError",
    "config.tokens:GenerationsError",
    "lab.campus:CampusError",
    "lab.control:ControlError",
    "lab.control:NotRunning",
    "toolchain.environment:ToolchainMissingError",
)
"""Errors whose text says what is wrong and what to do."""
app = typer.Typer(
    name="lyceum",
    cls=commands(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)


@app.callback()
def lyceum() -> None:
    """Turns a campus's PCs and servers into a GPU cluster that people log in to."""


def foreseen(error: Exception) -> bool:
    """Whether an error is of a kind that explains itself; told by name, as its module need not have been imported."""
    return any(f"{kind.__module__}:{kind.__qualname__}" in FORESEEN for kind in type(error).__mro__)


def sentence(error: Exception) -> str:
    """What to tell people of an error; empty where it is a mistake of ours, of which they get the traceback."""
    if foreseen(error):
        return str(error)
    from ops.wait import passing  # noqa: PLC0415 - commands that go well start faster without it

    why = passing(error)
    return why and f"the cluster's API: {why}. Run the same command again: it goes on where it stopped"


def main() -> None:
    """Runs the command; an error that was foreseen, or that passes by itself, is a sentence, not a traceback."""
    try:
        app()
    except Exception as error:
        if not (text := sentence(error)):
            raise
        errors.print(f"[red]✗[/] {escape(text)}")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
