"""`lyceum secrets`: lists, sets and generates the secrets of a site, without ever showing one."""

import getpass
import json
import re
import secrets as random
import subprocess
import sys
from typing import Annotated

import typer
from rich.table import Table

from config.errors import FAILED, LyceumError, UsageError
from config.paths import PROJECT
from config.required_secrets import RequiredSecret, required_secrets
from ops.console import console
from ops.engine.engine import Engine
from ops.engine.stack import Stack, find_stack, load_valid_site
from ops.files import PRIVATE, write_atomically

app = typer.Typer(
    name="secrets", help="Secrets of a site: list, set, generate, rotate. None is ever shown.", no_args_is_help=True
)
SiteName = Annotated[str, typer.Argument(help="Name of the site.")]
StackName = Annotated[str | None, typer.Option("--stack", help="Stack of the site, if it has several.")]

SECRET_FORMATS: dict[str, tuple[str, str]] = {
    "seed": (r"[0-9a-f]{64}", "64 hex digits, as `./lyceum secrets generate` makes them"),
    "proxmox-token": (
        r"[^\s@!=]+@[^\s@!=]+![^\s@!=]+=[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        "`user@realm!name=uuid`, as Proxmox shows it once",
    ),
    "certificate-key": (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+", "a private key in PEM"),
    "slack-webhook": (r"https://\S+", "a full URL, https://…"),
}
"""Secret -> pattern of its value, and the pattern in words. Any other secret is a single line."""


@app.command("list")
def list_secrets(
    site: SiteName,
    stack: StackName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists the secrets that a site needs, and where each is stored; exit code 1 if one is missing."""
    found = {need: secret_location(find_stack(site, stack), need) for need in required_secrets(load_valid_site(site))}
    missing = [need.name for need, place in found.items() if place is None and need.required_now]
    if as_json:
        rows = [
            {"name": n.name, "what": n.what, "needed": n.required_now, "where": place} for n, place in found.items()
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("secret", "stored in", "description"):
            table.add_column(column)
        for need, place in found.items():
            absent = "[red]missing[/]" if need.required_now else "[dim]not used yet[/]"
            table.add_row(need.name, place or absent, need.what)
        console.print(table)
    if missing:
        raise typer.Exit(FAILED)


@app.command("set")
def set_secret(
    site: SiteName, name: Annotated[str, typer.Argument(help="Name of the secret.")], stack: StackName = None
) -> None:
    """Reads a secret from the terminal, without echo, or from a pipe, and stores it where the site keeps it."""
    need = _find_secret(site, name)
    site_stack = find_stack(site, stack)
    store_secret(site_stack, need.name, validate_secret(need.name, _read_value(need)))
    console.print(f"[green]✓[/] {name}: {secret_location(site_stack, need)}")


@app.command("generate")
def generate_secrets(site: SiteName, stack: StackName = None) -> None:
    """Generates every random secret that does not exist yet; existing ones are kept."""
    site_stack = find_stack(site, stack)
    for need in required_secrets(load_valid_site(site)):
        if need.generated and secret_location(site_stack, need) is None:
            store_secret(site_stack, need.name, random.token_hex(32))
            console.print(f"[green]✓[/] {need.name}: generated, {secret_location(site_stack, need)}")
        elif need.generated:
            console.print(f"[dim]{need.name}: exists, and is kept: all credentials of the stack derive from it[/]")


def _find_secret(site: str, name: str) -> RequiredSecret:
    known = {need.name: need for need in required_secrets(load_valid_site(site))}
    if name not in known:
        raise UsageError(f"{site} needs no secret `{name}`; it needs {', '.join(known)}")
    return known[name]


def _read_value(need: RequiredSecret) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{need.name} ({need.what}): ")
    return sys.stdin.read()


def validate_secret(name: str, value: str) -> str:
    """The value without surrounding white space.

    Raises:
        LyceumError: it cannot be this secret. The text does not hold the value.
    """
    value = value.strip()
    form, words = SECRET_FORMATS.get(name, (r"\S.*", "one non-empty line"))
    if not re.fullmatch(form, value):
        raise LyceumError(f"this is not a valid {name}: expected {words}")
    return value


def secret_location(stack: Stack, need: RequiredSecret) -> str | None:
    """Where a secret is stored: its file, or the stack's configuration; None if it is not stored."""
    reference = stack.site.secrets.get(need.name)
    if reference and (PROJECT / reference.file).exists():
        return str(reference.file)
    value = stack.settings.get(need.name)
    return f"{stack.file.name}, encrypted" if isinstance(value, dict) and "secure" in value else None


def store_secret(stack: Stack, name: str, value: str) -> None:
    """Writes a secret to the file that the site names for it, or encrypted to the stack's configuration.

    Raises:
        LyceumError: the engine could not encrypt it.
    """
    reference = stack.site.secrets.get(name)
    if reference:
        write_atomically(PROJECT / reference.file, value + "\n", PRIVATE)
        return
    Engine(stack).init()
    # The value goes through a pipe: `ps` shows arguments to everybody on the machine.
    done = subprocess.run(
        ["pulumi", "config", "set", "--secret", f"lyceum:{name}", "--stack", stack.name],
        cwd=PROJECT,
        env=stack.environment,
        input=value,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LyceumError(f"pulumi config set: {(done.stderr or done.stdout).replace(value, '…').strip()}")
    stack.__dict__.pop("settings", None)
