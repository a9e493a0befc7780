"""`python -m ops`: assembles the command from its rooms."""

import typer

app = typer.Typer(
    name="lyceum",
    help="Turns a campus's PCs and servers into a GPU cluster that people log in to.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

if __name__ == "__main__":
    app()
