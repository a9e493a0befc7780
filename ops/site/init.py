"""`lyceum init`: writes a first site file from a few questions or a live Proxmox; a second run updates the hosts only."""

import getpass
import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

import typer

from config.base import expand_range
from config.errors import LyceumError, UsageError
from config.gpus import CARDS
from config.paths import PROJECT, SITES
from config.scaffold import DiscoveredGpu, DiscoveredHost, SiteAnswers, propose_site
from config.site_writer import merge_hosts, render_site
from config.validate import validate_file
from ops.clients.proxmox import ProxmoxApi
from ops.console import console, errors, step
from ops.engine.stack import INSIDE
from ops.files import write_atomically
from ops.site import inventory
from ops.site.inventory import ProxmoxInventory

Prompt = Callable[[str, str, str | None], str]
"""Name of the answer, question, default -> answer."""


def init_site(
    name: Annotated[str, typer.Argument(help="Name of the site; the file is config/sites/<name>.yaml.")],
    *,
    proxmox: Annotated[str | None, typer.Option(help="Read hosts, storages, bridges and GPUs from this API.")] = None,
    user: Annotated[str, typer.Option(help="Proxmox user to sign in as; its password is asked for.")] = "root@pam",
    ca_file: Annotated[str | None, typer.Option(help="CA certificate of that API, if it is not a public one.")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", "-a", help="Answer to a question, as in domain=lab.campus.edu. Repeatable."),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="URL of your OpenID Connect provider; default: Authentik on the cluster.")
    ] = None,
    nfs: Annotated[
        str | None, typer.Option(help="`server:/share` for home directories; default: Ceph on the workers' disks.")
    ] = None,
    lab: Annotated[str | None, typer.Option(help="Read the embedded campus of this name instead.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept all proposals without asking.")] = False,
) -> None:
    """Writes a first site file; updates the hardware in an existing one and keeps everything else."""
    path = SITES / f"{name}.yaml"
    ask = make_prompt(_parse_answers(answer or []), quiet=yes or not sys.stdin.isatty())
    lab_settings: dict[str, Any] = {}
    found = None
    if lab:
        found, lab_settings = _read_lab(lab)
    elif proxmox:
        found = _read_proxmox(proxmox, ca_file, user)
    if path.exists():
        _update_hosts(path, found)
        return
    try:
        found = found or describe_hosts(ask)
    except ValueError as error:
        raise UsageError(f"invalid answer: {error}") from error
    for problem in found.unusable_gpus:
        errors.print(f"[yellow]![/] {problem}", highlight=False)
    endpoint = lab_settings.pop("endpoint", proxmox) or ask(
        "proxmox", "Proxmox API", f"https://{found.hosts[0].address}:8006/"
    )
    try:
        answers = _collect_answers(
            name, endpoint, found, ask, image=lab_settings.pop("image", None), issuer=issuer, nfs=nfs, ca_file=ca_file
        )
        site = propose_site(found.hosts, answers)
    except ValueError as error:
        raise LyceumError(f"no site can be proposed: {error}") from error
    _write_site(path, name, overlay(site, lab_settings))


def _parse_answers(answers: list[str]) -> dict[str, str]:
    pairs = [answer.partition("=") for answer in answers]
    if bad := next((name for name, equals, _ in pairs if not equals), None):
        raise UsageError(f"--answer {bad}: write name=value")
    return {name: value for name, _, value in pairs}


def make_prompt(given: dict[str, str], *, quiet: bool) -> Prompt:
    """A prompt that uses the given answers first, then the terminal; with `quiet` the defaults instead of the terminal."""

    def ask(name: str, question: str, default: str | None) -> str:
        if name in given:
            return given[name]
        if not quiet:
            return str(typer.prompt(question, default=default))
        if default is None:
            raise UsageError(f"{question}: there is no terminal to ask on; use --answer {name}=…")
        return default

    return ask


def _collect_answers(
    name: str, endpoint: str, found: ProxmoxInventory, ask: Prompt, **known: str | None
) -> SiteAnswers:
    domain = ask("domain", "DNS domain of the web pages", None)
    cidr = IPv4Network(ask("cidr", "Network of the nodes", str(found.cidr) if found.cidr else None))
    first = found.gateway if found.gateway and found.gateway in cidr else cidr.network_address + 1
    gateway = IPv4Address(ask("gateway", "Its gateway", str(first)))
    servers = ask("dns", "Name servers, separated by commas", ",".join(map(str, found.dns)) or str(gateway))
    return SiteAnswers(
        name=name,
        title=ask("title", "Title", name.replace("-", " ").capitalize()),
        domain=domain,
        endpoint=endpoint,
        image=known["image"] or ask("image", "URL of the node image (with qemu-guest-agent in it)", None),
        cidr=cidr,
        gateway=gateway,
        dns=tuple(IPv4Address(part.strip()) for part in servers.split(",")),
        bridge=found.bridge,
        vm_storage=next(iter(found.vm_storages), "local-lvm"),
        image_storage=next(iter(found.image_storages), "local"),
        groups=tuple(part.strip() for part in ask("groups", "Groups that may log in", "students").split(",")),
        issuer=known["issuer"],
        nfs=known["nfs"],
        ca_file=known["ca_file"],
    )


def describe_hosts(ask: Prompt) -> ProxmoxInventory:
    """Equal hosts, described by answers: the shortest way to a file that can then be edited."""
    names = expand_range(ask("hosts", "Proxmox hosts, as in pve[1-3]", "pve[1-3]"))
    start = IPv4Address(ask("first-address", "Address of the first; the others follow it", None))
    cpus, memory = int(ask("cpus", "Threads of each", "32")), int(ask("memory", "Memory of each, GiB", "128"))
    disk = int(ask("disk", "Storage for VMs on each, GiB", "2000"))
    model = ask("gpu", f"GPU in each: {', '.join(sorted(CARDS))}", "rtx-4090")
    pci = ask("pci", "Its PCI address (`lspci -D | grep -i nvidia` on a host)", "0000:01:00.0")
    group = int(ask("iommu-group", "Its IOMMU group", "14"))
    card = DiscoveredGpu(model, model, pci, group, CARDS[model].id if model in CARDS else "")
    hosts = tuple(
        DiscoveredHost(name, start + number, cpus, memory * 1024, disk * 1024, (card,))
        for number, name in enumerate(names)
    )
    return ProxmoxInventory(hosts, "vmbr0", IPv4Network((start, 24), strict=False), None, (), (), (), ())


def _read_proxmox(endpoint: str, ca_file: str | None, user: str) -> ProxmoxInventory:
    api = ProxmoxApi(endpoint, PROJECT / ca_file if ca_file else None)
    api.sign_in(user, getpass.getpass(f"{user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n"))
    with step(f"read {endpoint}"):
        return inventory.read_inventory(api)


def _read_lab(name: str) -> tuple[ProxmoxInventory, dict[str, Any]]:
    """Hosts of the embedded campus, and further settings for a site on it."""
    from lab import campus  # noqa: PLC0415 - only the embedded campus needs the lab
    from lab.rundir import RunDir  # noqa: PLC0415
    from lab.spec import load_request  # noqa: PLC0415

    run = RunDir.of(name)
    if not os.environ.get(INSIDE):
        command = [*campus.enter_command(name), sys.executable, "-m", "ops", *sys.argv[1:]]
        os.execvpe(command[0], command, os.environ | {INSIDE: "1"})  # noqa: S606 - the same command, elsewhere
    spec = load_request(run.spec.read_bytes()).spec
    endpoint, mirror = f"https://{spec.nodes[0].address}:8006/", f"https://{spec.mirror}:8443"
    api = ProxmoxApi(endpoint, run.ca)
    api.sign_in("root@pam", (run.path / "root-password").read_text().strip())
    lab_settings = {
        "endpoint": endpoint,
        "image": f"{mirror}/images/lyceum-node.qcow2",
        "simulated": True,
        "ca-file": _project_path(run.ca),
        "charts": f"{mirror}/charts",
        "proxmox": {"ca-file": _project_path(run.ca)},
        "k3s": {"binaries": f"{mirror}/k3s"},
        "workspaces": {"jupyterhub": {"authenticator": "dummy"}},
        "secrets": {
            "seed": {"file": _project_path(run.seed)},
            "proxmox-token": {"file": _project_path(run.path / "proxmox-token")},
        },
    }
    return inventory.read_inventory(api), lab_settings


def _project_path(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def overlay(site: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The site with further settings, which replace its own."""
    found = dict(site)
    for key, value in more.items():
        found[key] = overlay(found.get(key, {}), value) if isinstance(value, dict) else value
    return found


def _write_site(path: Path, name: str, site: dict[str, Any]) -> None:
    write_atomically(path, render_site(site))
    console.print(f"[green]✓[/] wrote {_display_path(path)}")
    for finding in validate_file(path).findings:
        errors.print(f"[yellow]![/] {finding}", markup=False)
    console.print(
        f"Next: read it; ./lyceum validate {name}; ./lyceum proxmox prepare {name}; write a Pulumi.<stack>.yaml with"
        f" `lyceum:site: {name}`; ./lyceum secrets list {name}; ./lyceum doctor {name}"
    )


def _update_hosts(path: Path, found: ProxmoxInventory | None) -> None:
    if found is None:
        raise UsageError(f"{_display_path(path)} exists; use --proxmox to compare it with the hardware")
    text, changes = merge_hosts(path.read_text(encoding="utf-8"), found.hosts)
    if not changes:
        console.print(f"[green]✓[/] {_display_path(path)} matches the hardware; nothing was changed")
        return
    write_atomically(path, text)
    for line in changes:
        console.print(f"[yellow]•[/] {line}", highlight=False)
    console.print(f"[green]✓[/] {_display_path(path)} updated; comments and all other settings are unchanged")


def _display_path(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
