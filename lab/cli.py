"""`./lyceum lab`: the embedded campus from the command line."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from config.errors import LyceumError
from lab import campus
from lab.rundir import PROJECT, RunDir

app = typer.Typer(name="lab", help="The embedded campus: everything on this one machine.", no_args_is_help=True)
faults = typer.Typer(name="faults", help="Break VMs, and mend them.", no_args_is_help=True)
app.add_typer(faults)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Name = Annotated[str, typer.Option("--name", help="Which lab, where several run.", envvar="LYCEUM_LAB")]
Vm = Annotated[str, typer.Argument(help="Name or vmid.")]
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
"""For commands whose words belong to another program."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Print what went wrong without a traceback."""
    try:
        yield
    except LyceumError as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None


@app.command()
def up(
    name: Name = "lab",
    site: Annotated[str, typer.Option(help="Which site of config/sites to simulate.")] = "lab",
    charts: Annotated[Path | None, typer.Option(help="Directory of real chart archives to serve.")] = None,
    real: Annotated[
        str | None,
        typer.Option(
            metavar="NODES|none",
            help="VMs in which pods really run, with commas; default: the first GPU workers, if programs are there.",
        ),
    ] = None,
) -> None:
    """Bring the campus up; does nothing when it is."""
    with report_errors():
        run, asked = RunDir.of(name), _describe_request(site, charts, real)
        if run.asked.exists() and run.asked.read_text() == asked and campus.is_up(name):
            state = "is up already"
        else:
            # Only now: the settings' modules take longer to load than everything else here.
            from config.validate import load_site  # noqa: PLC0415
            from lab.spec import CampusRequest, choose_real_nodes, dump_request, spec_from_site  # noqa: PLC0415

            settings = load_site(site)
            spec = spec_from_site(settings, name, choose_real_nodes(settings, real))
            request = dump_request(CampusRequest(spec, charts and charts.resolve()))
            seconds = campus.up(request, name, report=lambda line: console.print(f"  {line}"))
            run.asked.write_text(asked)
            state = f"is up after {seconds:.1f} s"
        facts = campus.read_addresses(name)
        api = next(iter(facts["proxmox"].values()))
        console.print(f"The lab `{name}` {state}: Proxmox at {api}, mirror at {facts['mirror']}")


def _describe_request(site: str, charts: Path | None, real: str | None) -> str:
    """The request in a line: the site with its file's digest, the charts, and the real nodes."""
    file = PROJECT / "config/sites" / f"{site}.yaml"
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "missing"
    return f"{site} {digest} {charts and charts.resolve()} {real}\n"


@app.command()
def down(name: Name = "lab") -> None:
    """End the campus and remove all it kept; the machine is as before. Works after a crash, too."""
    with report_errors():
        console.print(f"The lab `{name}` {'is gone' if campus.down(name) else 'was not there'}")


@app.command()
def status(name: Name = "lab", as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show what runs, what of it is real, and the VMs."""
    with report_errors():
        state = campus.ask("status", lab=name)
    if as_json:
        console.print_json(json.dumps(state))
        return
    console.print(_parts_table(state))
    console.print(_vms_table(state["machines"]))
    if state["login_lacks"]:
        console.print(f"Nobody can log in: {', '.join(state['login_lacks'])} missing. Remedy: make lab-programs")
    console.print(
        f"Lab `{state['name']}` since {state['started']}, network {state['network']}, no route out; "
        f"mirror {state['mirror']}, CA {state['ca']}\n"
        f"VM disks on {state['disks']}, root is {state['root']}; daemon {state['daemon_mib']:.0f} MiB"
    )


def _parts_table(state: dict[str, Any]) -> Table:
    table = Table("part", "in the lab", "which means", title="What is real")
    for part in state["parts"]:
        table.add_row(part["part"], part["is"], part["means"])
    for node, url in state["proxmox"].items():
        table.add_row(f"Proxmox node {node}", "simulated", url)
    return table


def _vms_table(machines: list[dict[str, Any]]) -> Table:
    total = sum(machine["memory_mib"] for machine in machines)
    columns = ("VM", "vmid", "node", "address", "state", "GPUs", "processes", "real pods", "MiB")
    table = Table(*columns, title="VMs with the power on")
    for machine in machines:
        table.add_row(
            machine["name"], str(machine["vmid"]), machine["node"], ", ".join(machine["addresses"]), machine["state"],
            str(machine["gpus"] or ""), str(machine["processes"]), str(machine["pods"] or ""), str(machine["memory_mib"]),
        )  # fmt: skip
    table.caption = f"{len(machines)} VMs, {total:.0f} MiB" if machines else "none yet; `./lyceum up dev` makes some"
    return table


@app.command()
def logs(
    vm: Annotated[str | None, typer.Argument(help="A VM: its units' output; without one, the lab's own.")] = None,
    name: Name = "lab",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written.")] = False,
) -> None:
    """Show the logs of the lab or of a VM."""
    with report_errors():
        files = [*sorted(RunDir.of(name).logs.glob("*.log"))] if vm is None else _vm_logs(name, vm)
        if not files:
            raise campus.CampusError(f"the lab `{name}` has no logs: it was never up, or is down and removed")
    os.execvp("tail", ["tail", *(["-F"] if follow else []), "-n", "50", *map(str, files)])  # noqa: S606


def _vm_logs(name: str, vm: str) -> list[Path]:
    """Console and units of a VM, running or not."""
    from lab.session import find_known_vm  # noqa: PLC0415

    directory, _ = find_known_vm(name, vm)
    return [directory / "console.log", *sorted((directory / "upper/var/log/units").glob("*.log"))]


@app.command(context_settings=PASS_ON)
def ssh(context: typer.Context, vm: Vm, name: Name = "lab") -> None:
    """Log in to a VM as Lyceum does; words after its name are run there."""
    from lab.session import ssh_command  # noqa: PLC0415

    with report_errors():
        command = ssh_command(name, vm, context.args)
    _run_and_exit(command, after=lambda: _forget_keys(name))


def _forget_keys(name: str) -> None:
    """Remove the private keys that `ssh_command` wrote for sessions that are over."""
    import shutil  # noqa: PLC0415

    for directory in RunDir.of(name).path.glob("ssh-*"):
        shutil.rmtree(directory, ignore_errors=True)


@app.command(context_settings=PASS_ON)
def kubectl(context: typer.Context, name: Name = "lab") -> None:
    """Run kubectl as the administrator of the cluster in the lab."""
    from lab.session import kubectl_command  # noqa: PLC0415

    with report_errors():
        command = kubectl_command(name, [word for word in context.args if word != "--"])
    _run_and_exit(command)


@app.command()
def shell(name: Name = "lab") -> None:
    """Open a shell in the campus's network, with kubectl's and Pulumi's settings."""
    from lab.session import shell_command  # noqa: PLC0415

    with report_errors():
        command, environment = shell_command(name)
    os.execvpe(command[0], command, environment)  # noqa: S606


@app.command("open")
def open_pages(
    name: Name = "lab", port: Annotated[int | None, typer.Option(help="Local port of the door.")] = None
) -> None:
    """Open the campus's pages to a browser of this machine, until Ctrl-C."""
    import shlex  # noqa: PLC0415

    from lab import door  # noqa: PLC0415

    with report_errors():
        settings = door.prepare(name, port or door.PORT)
        home = door.browser_home(name, settings)
        listening = door.listen(settings.port)
    console.print("The campus's pages:")
    for host in sorted(settings.names):
        console.print(f"  https://{host}/", soft_wrap=True)
    console.print(settings.people, soft_wrap=True)
    hub = next((host for host in settings.names if host.startswith("jupyter.")), next(iter(settings.names), ""))
    if home:
        command = shlex.join(door.browser_command(settings, home, f"https://{hub}/"))
        console.print(
            f"A browser that trusts the campus's CAs and reaches only the campus:\n  {command}", soft_wrap=True
        )
    console.print(
        f"Any other browser: automatic proxy configuration http://127.0.0.1:{settings.port}/proxy.pac, and trust\n"
        + "".join(f"  {file}\n" for file in settings.authorities)
        + "Ctrl-C ends it.",
        soft_wrap=True,
    )
    door.run(name, settings, listening)


def _run_and_exit(command: list[str], after: Callable[[], None] = lambda: None) -> None:
    """Run a program in our place and end as it did."""
    code = subprocess.run(command, check=False).returncode
    after()
    raise typer.Exit(code if code >= 0 else 128 - code)


def _inject_fault(do: str, name: str, vm: str, done: str, **arguments: Any) -> None:
    from lab.session import find_running_vm  # noqa: PLC0415

    with report_errors():
        campus.ask(do, lab=name, vmid=find_running_vm(name, vm)["vmid"], **arguments)
    console.print(f"{vm}: {done}")


@faults.command("power-fail")
def power_fail(vm: Vm, name: Name = "lab") -> None:
    """Pull a VM's plug."""
    _inject_fault("power_fail", name, vm, "off; `power-on` starts it")


@faults.command("power-on")
def power_on(vm: Vm, name: Name = "lab") -> None:
    """Start a VM in the Proxmox API, as after a power failure."""
    from lab.session import power_on as start  # noqa: PLC0415

    with report_errors():
        start(name, vm)
    console.print(f"{vm}: starts")


@faults.command()
def freeze(vm: Vm, name: Name = "lab") -> None:
    """Stop every process of a VM where it is."""
    _inject_fault("freeze", name, vm, "frozen")


@faults.command()
def thaw(vm: Vm, name: Name = "lab") -> None:
    """Continue the processes of a frozen VM."""
    _inject_fault("thaw", name, vm, "goes on")


@faults.command()
def cut(vm: Vm, name: Name = "lab") -> None:
    """Drop everything from and to a VM."""
    _inject_fault("cut", name, vm, "cut off")


@faults.command()
def heal(vm: Vm, name: Name = "lab") -> None:
    """Undo `cut` and `slow`."""
    _inject_fault("heal", name, vm, "connected")


@faults.command()
def slow(
    vm: Vm,
    kbit: Annotated[int, typer.Option(help="Bandwidth towards the VM, kbit/s.")] = 1000,
    delay_ms: Annotated[int, typer.Option(help="Delay; needs a kernel with netem.")] = 0,
    name: Name = "lab",
) -> None:
    """Make a VM's link slow."""
    _inject_fault("slow", name, vm, f"{kbit} kbit/s", kbit=kbit, delay_ms=delay_ms)


@faults.command("offer-packages")
def offer_packages(
    vm: Vm,
    packages: Annotated[
        list[str], typer.Argument(help="NAME=VERSION, with `:security`, `:reboot` or `:fails` after it where it is so.")
    ],
    name: Name = "lab",
) -> None:
    """Add newer packages to a VM's archive; `lyceum upgrade plan` then shows them."""
    _inject_fault("offer_packages", name, vm, "its archive offers them", packages=dict(map(_parse_offer, packages)))


def _parse_offer(text: str) -> tuple[str, dict[str, Any]]:
    called, _, rest = text.partition("=")
    version, *words = rest.split(":")
    if not version or set(words) - {"security", "reboot", "fails"}:
        raise typer.BadParameter(f"{text}: write NAME=VERSION, and :security, :reboot or :fails after it")
    fails = f"{called}: simulated failure" if "fails" in words else ""
    return called, {
        "version": version,
        "installed": "1",
        "security": "security" in words,
        "reboot": "reboot" in words,
        "fails": fails,
    }


@faults.command("hold-dpkg")
def hold_dpkg(vm: Vm, seconds: Annotated[float, typer.Option(help="For how long.")] = 60, name: Name = "lab") -> None:
    """Hold dpkg's lock in another process of a VM for a while."""
    _inject_fault("hold_dpkg", name, vm, f"dpkg is locked for {seconds:.0f} s", seconds=seconds)


@faults.command("rogue-sshd")
def rogue_sshd(vm: Vm, name: Name = "lab") -> None:
    """Serve SSH at a VM's address with another host key."""
    _inject_fault("rogue_sshd", name, vm, "answers with a rogue key; `true-sshd` mends it")


@faults.command("age-certificates")
def age_certificates(
    vm: Vm,
    days: Annotated[int, typer.Option(help="How much older; K3s makes them for 365 days.")],
    name: Name = "lab",
) -> None:
    """Make the certificates of K3s on a VM older, as if the time had passed."""
    _inject_fault("age_certificates", name, vm, f"its certificates are {days} days older", days=days)


@faults.command("true-sshd")
def true_sshd(vm: Vm, name: Name = "lab") -> None:
    """Undo `rogue-sshd`."""
    _inject_fault("true_sshd", name, vm, "answers with its own key")


if __name__ == "__main__":
    app()
