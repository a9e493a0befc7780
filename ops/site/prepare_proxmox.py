"""`lyceum proxmox prepare`: what the Proxmox administrator sets up once, as commands to read and run, or done at once."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.proxmox.client import PveError
from config.proxmox_grants import (
    TOKEN,
    TOKEN_NAME,
    USER,
    ApiCall,
    calls_after_token,
    calls_before_token,
    setup_commands,
    token_call,
)
from config.site import Site
from ops.clients.proxmox import Api
from ops.console import console, step
from ops.credentials.secrets import store_secret
from ops.engine.site_stack import sound_site, stack_of
from ops.engine.stack import PROJECT, STATE, Stack

app = typer.Typer(name="proxmox", help="What is set up once in Proxmox.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What is set up once in Proxmox."""


@app.command("prepare")
def prepare_proxmox(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Do it now, over the API.")] = False,
    user: Annotated[str, typer.Option(help="With --apply: who signs in; the password is asked for.")] = "root@pam",
    stack: Annotated[str | None, typer.Option("--stack", help="With --apply: the stack that gets the token.")] = None,
) -> None:
    """Print the commands that give Lyceum a pool, roles with the least privileges, a token and the PCI mappings.

    They are run once, as root, on any node of the Proxmox cluster; nothing else needs root there.
    """
    found = sound_site(site)
    if not apply:
        typer.echo("\n".join(setup_commands(found)))
        return
    chosen = stack_of(site, stack)
    chosen.enter_network()
    password = getpass.getpass(f"{user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    ca = PROJECT / found.proxmox.ca_file if found.proxmox.ca_file else None
    api = Api(str(found.proxmox.endpoint), ca)
    api.sign_in(user, password)
    with step(f"prepare {found.proxmox.endpoint.host} for {found.title}"):
        token = apply_setup(api, found, unkept := pending_token_file(chosen))
    if token:
        store_secret(chosen, "proxmox-token", token)
        unkept.unlink(missing_ok=True)
        console.print(f"[green]✓[/] the token {TOKEN} is made and kept")
    else:
        console.print(f"[dim]the token {TOKEN} was there; Proxmox shows its secret only once[/]")


def pending_token_file(stack: Stack) -> Path:
    """Is there while a token of ours is made and not yet kept; its secret is lost with a command that is killed then."""
    return STATE / "prepare" / f"{stack.name}.token"


def apply_setup(api: Api, site: Site, unkept: Path) -> str | None:
    """Does the set-up; what is there already is brought to what it should be.

    Args:
        api: Signed in as an administrator.
        site: The campus.
        unkept: See `unkept_token`; made here, and removed by whoever keeps the token.

    Returns:
        The new token, `user@realm!name=uuid`; None if there was one already.

    Raises:
        PveError: Proxmox refused.
    """
    for call in calls_before_token(site):
        _ensure_call(api, call)
    there = {item["tokenid"] for item in api.call("GET", f"access/users/{USER}/token")}
    token = None
    if TOKEN_NAME in there and unkept.exists():
        # Nobody was ever given that one.
        api.send("DELETE", f"access/users/{USER}/token/{TOKEN_NAME}", {})
        there.remove(TOKEN_NAME)
    if TOKEN_NAME not in there:
        unkept.parent.mkdir(parents=True, exist_ok=True)
        unkept.touch()
        made = token_call()
        answer = api.send(made.method, made.path, made.params)
        token = f"{answer['full-tokenid']}={answer['value']}"
    for call in calls_after_token(site):
        _ensure_call(api, call)
    return token


def _ensure_call(api: Api, call: ApiCall) -> None:
    try:
        api.send(call.method, call.path, call.params)
    except PveError as error:
        if "already exists" not in str(error):
            raise
        if call.update:
            _ensure_call(api, call.update)
