"""`python -m ops`: assembles the command from its rooms."""

import typer

from lab.cli import app as lab
from ops.demo import demo
from ops.nodes.commands import app as nodes
from ops.show import show
from ops.status import status
from ops.update import destroy, preview, up
from ops.validate import validate

app = typer.Typer(
    name="lyceum",
    help="Turns a campus's PCs and servers into a GPU cluster that people log in to.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
for command in (validate, show, demo, preview, up, status, destroy):
    app.command()(command)
app.add_typer(lab, name="lab")
app.add_typer(nodes, name="node")

if __name__ == "__main__":
    app()
