"""`python -m ops`: assembles the command from its rooms."""

import sys

import typer
from rich.markup import escape

from components.hosts.pve import PveError
from config.check import SiteError
from config.secrets import MissingSecretError
from config.tokens import GenerationsError
from lab.campus import CampusError, ControlError, NotRunning
from lab.cli import app as lab
from ops.backup import app as backup
from ops.bring import bring
from ops.certificates import certificates
from ops.console import FAILED, errors
from ops.demo import demo
from ops.doctor.command import doctor
from ops.etcd import app as etcd
from ops.init import init
from ops.nodes.commands import app as nodes
from ops.prepare import app as proxmox
from ops.restore import restore
from ops.secrets import app as secrets
from ops.show import show
from ops.status import status
from ops.tokens.rotate import rotate
from ops.update import destroy, preview, up
from ops.upgrade.commands import app as upgrade
from ops.validate import validate
from toolchain.environment import ToolchainMissingError

FORESEEN = (
    PveError,
    SiteError,
    MissingSecretError,
    GenerationsError,
    CampusError,
    ControlError,
    NotRunning,
    ToolchainMissingError,
)
"""Errors whose text says what is wrong and what to do."""
app = typer.Typer(
    name="lyceum",
    help="Turns a campus's PCs and servers into a GPU cluster that people log in to.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
for command in (init, validate, show, doctor, demo, preview, up, status, restore, certificates, destroy):
    app.command()(command)
app.add_typer(lab, name="lab")
app.add_typer(nodes, name="node")
backup.command()(bring)
app.add_typer(backup, name="backup")
app.add_typer(upgrade, name="upgrade")
app.add_typer(etcd, name="etcd")
app.add_typer(proxmox, name="proxmox")
secrets.command()(rotate)
app.add_typer(secrets, name="secrets")


def main() -> None:
    """Runs the command; an error that was foreseen is a sentence, not a traceback."""
    try:
        app()
    except FORESEEN as error:
        errors.print(f"[red]✗[/] {escape(str(error))}")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
