"""`python -m ops`: the `lyceum` command."""

import errno
from typing import Any, ClassVar

import typer
from rich.markup import escape

from config.errors import FAILED, LyceumError
from ops.console import errors
from ops.lazy import LazyGroup

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
    "etcd": "ops.nodes.etcd_commands:app",
    "proxmox": "ops.site.prepare_proxmox:app",
    "secrets": "ops.credentials.secrets:app",
    "secrets rotate": "ops.credentials.rotate:rotate_token",
}


class LyceumGroup(LazyGroup):
    """The one place that turns an error into a text and an exit code."""

    targets: ClassVar = COMMANDS

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a mistake of ours keeps its traceback."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if not (text := explain(error)):
                raise
            errors.print(f"[red]✗[/] {escape(text)}")
            raise typer.Exit(error.exit_code if isinstance(error, LyceumError) else FAILED) from error


app = typer.Typer(
    name="lyceum",
    cls=LyceumGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)


@app.callback()
def lyceum() -> None:
    """Turns a campus's PCs and servers into a GPU cluster that people log in to."""


def explain(error: Exception) -> str:
    """The text for an operator; empty for a mistake of ours."""
    if isinstance(error, LyceumError):
        return str(error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"{error.strerror}{f': {error.filename}' if error.filename else ''}. Free some space, then run the same command "
            "again to continue: finished parts are kept. What compilers keep for the next build: go clean -cache"
        )
    from ops.wait import transient_reason  # noqa: PLC0415 - commands that succeed start faster without it

    why = transient_reason(error)
    return why and f"the cluster's API: {why}. Run the same command again to continue"


if __name__ == "__main__":
    app(prog_name="lyceum")
