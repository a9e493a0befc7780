"""The campus daemon: the first processes of a campus, in its own namespaces.

PID 1 only waits: when its child, the daemon proper, ends, PID 1 ends, and with it the kernel removes every process,
mount and network of the campus. Whoever kills either of them takes the whole campus down and nothing else.
"""

import asyncio
import contextlib
import functools
import importlib
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from lab import certificates, control, dns, identity, network, store
from lab.contracts import LabSpec, StoreSpec
from lab.host import syscalls
from lab.host.faults import VmFaults
from lab.host.hypervisor import NamespaceHypervisor
from lab.host.image import build_image
from lab.host.launch import LauncherClient
from lab.host.vm_control import VmControl
from lab.proxmox import Proxmox, create_app
from lab.real_pods import RealPods, missing_programs
from lab.report import Report, find_kubeconfig
from lab.request_log import RequestLog
from lab.rundir import PROJECT, RunDir
from lab.spec import CampusRequest, load_request

if TYPE_CHECKING:
    from lab.images import Built

log = logging.getLogger("lab.daemon")


class Campus:
    """Everything that runs in the daemon's process."""

    def __init__(self, run: RunDir, request: CampusRequest) -> None:
        self._run = run
        self._request = request

    async def run(self) -> None:
        """Bring the campus up, say so, and stay until something of it fails."""
        begun = time.monotonic()
        spec, run = self._request.spec, self._run
        with timed_step("VM image and disks"):
            options, disks = prepare_disks(run)
            image = build_image(run.image, PROJECT)
        with timed_step("network"):
            await network.run_ip(network.campus_lines(spec))
        with timed_step("certificates"):
            self._certify()
        launch = LauncherClient()
        images, lacking = find_images(spec)
        pods = self._real_pods(images) if images else None
        # Hard links need one file system.
        populate = self._prepare_nodes(images) if images and disks == "disk" else Path.mkdir
        hypervisor = NamespaceHypervisor(spec, run.hosts, image, launch, options=options, pods=pods, populate=populate)
        # Without the launcher no VM could start any more, and no end of one would be noticed.
        await launch.open(on_exit=hypervisor.ended, on_loss=lambda: os._exit(1))
        await dns.serve(spec.gateway, functools.partial(resolve_name, spec, hypervisor))
        report = Report(run, spec, hypervisor, disks=disks, pods=pods, lacking=lacking)
        run.status.write_text(json.dumps(report.facts(), indent=1))
        async with asyncio.TaskGroup() as group:
            with timed_step("Proxmox API, mirror, object store"):
                proxmox = await self._serve(group, hypervisor, real_pods=pods is not None)
            if images:
                await self._serve_images(group, images)
            controllers = importlib.import_module("lab.controllers")
            group.create_task(controllers.run(functools.partial(find_kubeconfig, hypervisor)))
            handlers = VmFaults(hypervisor).handlers() | VmControl(hypervisor).handlers() | report.handlers()
            await control.serve(run.control, handlers | proxmox.handlers())
            report_line(f"ready in {time.monotonic() - begun:.1f} s")
            detach_terminal()

    def _real_pods(self, images: "Built") -> RealPods:
        spec = self._request.spec
        return RealPods(spec.real_nodes, images.names, f"http://{spec.mirror}:{network.REGISTRY_PORT}")

    def _prepare_nodes(self, images: "Built") -> Callable[[Path], None]:
        """Import the images unless that was done before; returns what gives a node its share."""
        from lab.images import store  # noqa: PLC0415  # only labs with real pods load it

        if store.golden_root(images, self._run.hosts) is None:
            report_line("importing images for real nodes, once: half a minute")
        try:
            with timed_step("images for real nodes"):
                golden = store.ensure_golden(images, self._run.hosts, report_line)
        except store.StoreError as error:
            report_line(f"nodes pull their images one by one: {error}")
            return Path.mkdir
        return functools.partial(store.populate, golden)

    async def _serve_images(self, group: asyncio.TaskGroup, images: "Built") -> None:
        from lab.images import registry  # noqa: PLC0415

        app = registry.create_app(images, RequestLog(self._run.logs / registry.LOG))
        served = registry.build_server(app, str(self._request.spec.mirror))
        group.create_task(served.serve())
        await wait_until_listening(self._request.spec.mirror, network.REGISTRY_PORT)

    def _certify(self) -> None:
        run, spec = self._run, self._request.spec
        certificates.ensure_authority(run.ca, run.ca_key, spec.name)
        if not run.seed.exists():
            run.seed.touch(mode=0o600)
            run.seed.write_text(secrets.token_hex(32))
        store.ensure_keys(run)
        identity.ensure_secret(run)
        served = [node.address for node in spec.nodes] + [str(spec.mirror)]
        served += [str(one.address) for one in (spec.store, spec.login) if one]
        names = [*(node.name for node in spec.nodes), "mirror", "s3", *([spec.login.host] if spec.login else [])]
        certificates.issue((run.ca, run.ca_key), names, served, run.path / "server.pem", run.path / "server.key")

    async def _serve(self, group: asyncio.TaskGroup, hypervisor: NamespaceHypervisor, *, real_pods: bool) -> Proxmox:
        """Serve the API of all nodes as one application, the mirror and the store; return once they answer."""
        spec, run = self._request.spec, self._run
        stored = [await self._start_store(group, spec.store)] if spec.store else []  # first: it loads while we do
        # Without real pods there is no hub that would send anybody there.
        if spec.login and spec.real_nodes and not identity.missing_parts():
            for process in await identity.start(run, spec.login):
                group.create_task(self._watch(process, "the campus's login", "login.log"))
        proxmox = create_app(spec, hypervisor, run.path)
        charts = importlib.import_module("lab.charts").create_app(run.path, self._request.charts, real_pods=real_pods)
        nodes = [node.address for node in spec.nodes]
        started = [
            self._server(group, proxmox, nodes, network.PVE_PORT),
            self._server(group, charts, [str(spec.mirror)], network.MIRROR_PORT),
            *(wait_until_listening(where.address, where.port) for where in stored),
        ]
        await asyncio.gather(*started)
        return proxmox

    async def _start_store(self, group: asyncio.TaskGroup, where: StoreSpec) -> StoreSpec:
        """Start the object store; the campus ends with it, as with everything else that it consists of."""
        words = [str(self._run.path), str(where.address), str(where.port), where.bucket, where.region]
        with (self._run.logs / "store.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lab.store",
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

        group.create_task(self._watch(process, "the object store", "store.log"))
        return where

    async def _watch(self, process: asyncio.subprocess.Process, what: str, log_file: str) -> None:
        """The campus ends with a part of it."""
        code = await process.wait()
        raise RuntimeError(f"{what} ended with {code}; see {self._run.logs}/{log_file}. Remedy: make setup")

    async def _server(self, group: asyncio.TaskGroup, app: ASGIApp, addresses: list[str], port: int) -> None:
        from lab.proxmox.serve import build_server  # noqa: PLC0415  # with its room, on first use

        served = build_server(
            app, addresses[0], self._run.path / "server.pem", self._run.path / "server.key", port=port
        )
        sockets = [socket.create_server((address, port), backlog=512) for address in addresses]
        group.create_task(served.serve(sockets=sockets))
        while not served.started:  # noqa: ASYNC110  # uvicorn tells by an attribute only
            await asyncio.sleep(0.01)


def find_images(spec: LabSpec) -> tuple["Built | None", list[str]]:
    """The images of a campus with real pods, else None; and what this machine lacks for them."""
    if not spec.real_nodes:
        return None, []
    if lacking := missing_programs(PROJECT / ".toolchain"):
        report_line(f"no pod is real: this machine lacks {', '.join(lacking)}. Remedy: make lab-programs")
        return None, lacking
    from lab.images import available  # noqa: PLC0415

    built = available()
    return (built, []) if built.images else (None, ["images"])


async def wait_until_listening(address: IPv4Address, port: int) -> None:
    """Wait until the port accepts connections."""
    while True:
        try:
            _, writer = await asyncio.open_connection(str(address), port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def resolve_name(spec: LabSpec, hypervisor: NamespaceHypervisor, name: str) -> IPv4Address | None:
    """The campus's name service: VMs that are on, by short or full name, and everything that the campus serves."""
    fixed = {node.name: node.address for node in spec.nodes} | {"mirror": str(spec.mirror)}
    fixed |= {host: str(address) for host, address in spec.pages}
    if spec.store:
        fixed["s3"] = str(spec.store.address)
    if spec.login:
        fixed[spec.login.host] = str(spec.login.address)
    for machine in hypervisor.machines():
        vm = machine.vm
        if name in {vm.name, f"{vm.name}.{vm.search}"} and vm.nics and vm.nics[0].address:
            return IPv4Interface(vm.nics[0].address).ip
    return IPv4Address(fixed[name]) if name in fixed else None


def prepare_disks(run: RunDir) -> tuple[str, str]:
    """Find how VM disks can be stored, and create the directory of the image.

    Returns:
        Overlay options that this kernel and user need, and where disks are: `disk` or `memory`.
    """
    for directory in (run.image, run.hosts):
        directory.mkdir(parents=True, exist_ok=True)
    syscalls.mount("lab-image", run.image, "tmpfs", syscalls.NODEV, "mode=755,size=256m")
    options = "" if syscalls.outer_uid() == 0 else "userxattr"
    if _overlay_works(run.hosts, options):
        return options, "disk"
    # Docker's own root is an overlay, and overlays do not take another as their upper layer.
    syscalls.mount("lab-hosts", run.hosts, "tmpfs", syscalls.NODEV, "mode=755")
    if not _overlay_works(run.hosts, options):
        raise RuntimeError(
            "the kernel refuses overlay mounts here, and VMs' disks are made of them. Remedy: run as root, or on Linux "
            "5.11 or newer; inside a container it needs CAP_SYS_ADMIN and no seccomp filter on mount"
        )
    return options, "memory"


def _overlay_works(hosts: Path, options: str) -> bool:
    """Whether a VM's disk can lie there; only a trial tells."""
    trial = hosts / ".trial"
    upper, work, root = (trial / name for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        directory.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir=/usr,upperdir={upper},workdir={work}"
    try:
        syscalls.mount("trial", root, "overlay", options=f"{options},{layers}" if options else layers)
        syscalls.unmount(root)
    except OSError:
        return False
    finally:
        shutil.rmtree(trial)
    return True


@contextlib.contextmanager
def timed_step(what: str) -> Iterator[None]:
    """Report how long a step took."""
    begun = time.monotonic()
    yield
    report_line(f"{what}: {time.monotonic() - begun:.2f} s")


def report_line(text: str) -> None:
    """Write a line to `lab up`, which reads until `ready`, and to the log."""
    log.info("%s", text)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def detach_terminal() -> None:
    """Close the terminal; from here on there is only the log."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)


def process_identity() -> str:
    """This process as the machine outside numbers it, with its start time; /proc must still be the machine's."""
    pid = Path("/proc/self").readlink().name
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return f"{pid} {started}\n"


def main() -> None:
    """`python -m lab.daemon RUN`, as the first process of new pid, mount and net (and user) namespaces."""
    run = RunDir(Path(sys.argv[1]))
    run.logs.mkdir(parents=True, exist_ok=True)
    run.pid.write_text(process_identity())
    syscalls.mount("proc", "/proc", "proc")
    child = os.fork()
    if child:
        detach_terminal()
        while os.wait()[0] != child:
            pass
        os._exit(1)
    logging.basicConfig(
        filename=run.logs / "daemon.log", level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(Campus(run, load_request(run.spec.read_bytes())).run())
    except BaseException as error:
        log.exception("the campus ends")
        # Only what goes before `ready` is read; afterwards this lands in /dev/null.
        report_line(f"error: {'; '.join(map(str, getattr(error, 'exceptions', [error])))}")
        raise


if __name__ == "__main__":
    main()
