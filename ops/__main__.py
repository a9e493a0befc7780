"""`python -m ops`: assembles the command from its rooms."""

import typer

from ops.demo import demo
from ops.status import status
from ops.update import destroy, preview, up

app = typer.Typer(
    name="lyceum",
    help="Turns a campus's PCs and servers into a GPU cluster that people log in to.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
for command in (demo, preview, up, status, destroy):
    app.command()(command)

if __name__ == "__main__":
    app()
