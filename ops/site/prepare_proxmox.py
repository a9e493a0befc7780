"""`lyceum proxmox prepare`: the one-time setup of Proxmox, printed as commands for its administrator or applied over the API."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.proxmox.client import PveError
from config.paths import PROJECT
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
from ops.clients.proxmox import ProxmoxApi
from ops.console import console, step
from ops.credentials.secrets import store_secret
from ops.engine.stack import STATE, Stack, find_stack, load_valid_site

app = typer.Typer(name="proxmox", help="One-time setup of Proxmox.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """One-time setup of Proxmox."""


@app.command("prepare")
def prepare_proxmox(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Apply the setup now, over the API.")] = False,
    user: Annotated[
        str, typer.Option(help="With --apply: Proxmox user to sign in as; its password is asked for.")
    ] = "root@pam",
    stack: Annotated[str | None, typer.Option("--stack", help="With --apply: stack that stores the token.")] = None,
) -> None:
    """Prints the commands that give Lyceum a pool, roles with least privileges, a token and PCI mappings.

    Run them once, as root, on any host of the Proxmox cluster; nothing else needs root there.
    """
    checked_site = load_valid_site(site)
    if not apply:
        typer.echo("\n".join(setup_commands(checked_site)))
        return
    chosen = find_stack(site, stack)
    chosen.enter_network()
    password = getpass.getpass(f"{user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    ca = PROJECT / checked_site.proxmox.ca_file if checked_site.proxmox.ca_file else None
    api = ProxmoxApi(str(checked_site.proxmox.endpoint), ca)
    api.sign_in(user, password)
    with step(f"prepare {checked_site.proxmox.endpoint.host} for {checked_site.title}"):
        token = apply_setup(api, checked_site, pending := pending_token_file(chosen))
    if token:
        store_secret(chosen, "proxmox-token", token)
        pending.unlink(missing_ok=True)
        console.print(f"[green]✓[/] the token {TOKEN} is created and stored")
    else:
        console.print(f"[dim]the token {TOKEN} exists; Proxmox shows its secret only once[/]")


def pending_token_file(stack: Stack) -> Path:
    """Marker file that exists from the creation of a token until it is stored; a command killed between loses its secret."""
    return STATE / "prepare" / f"{stack.name}.token"


def apply_setup(api: ProxmoxApi, site: Site, pending: Path) -> str | None:
    """Applies the setup; updates what exists.

    Args:
        api: Signed in as an administrator.
        site: The site.
        pending: See `pending_token_file`; created here, deleted by the caller when the token is stored.

    Returns:
        The new token, `user@realm!name=uuid`; None if it existed.

    Raises:
        PveError: Proxmox refused a request.
    """
    for call in calls_before_token(site):
        _ensure_call(api, call)
    existing = {item["tokenid"] for item in api.call("GET", f"access/users/{USER}/token")}
    token = None
    if TOKEN_NAME in existing and pending.exists():
        # Its secret was never stored.
        api.send("DELETE", f"access/users/{USER}/token/{TOKEN_NAME}", {})
        existing.remove(TOKEN_NAME)
    if TOKEN_NAME not in existing:
        pending.parent.mkdir(parents=True, exist_ok=True)
        pending.touch()
        made = token_call()
        answer = api.send(made.method, made.path, made.params)
        token = f"{answer['full-tokenid']}={answer['value']}"
    for call in calls_after_token(site):
        _ensure_call(api, call)
    return token


def _ensure_call(api: ProxmoxApi, call: ApiCall) -> None:
    try:
        api.send(call.method, call.path, call.params)
    except PveError as error:
        if "already exists" not in error.reason:
            raise
        if call.update:
            _ensure_call(api, call.update)
