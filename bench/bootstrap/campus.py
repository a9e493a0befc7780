"""Machines to measure on: VMs of the lab with a stub of K3s, and a server from which they download it."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.bootstrap.site import PORT, SERVERS, VERSION, make_site
from config.site import Site
from lab import campus
from lab.spec import CampusRequest, dump_request
from tests.lab.host.conftest import Lab
from tests.lab.host.vms import CAMPUS

STUB = Path(__file__).parent / "k3s_stub.py"


@dataclass(frozen=True)
class Machines:
    """Booted machines and the access to them.

    Attributes:
        lab: The embedded campus.
        site: Site of the machines: three servers, then agents.
        keys: Host keys by name of the machine.
        directory: Scratch directory with the private SSH key, `id`.
    """

    lab: Lab
    site: Site
    keys: dict[str, str]
    directory: Path

    @property
    def private_key(self) -> str:
        """The private SSH key of the machines' user, PKCS#8 in PEM."""
        loaded = serialization.load_ssh_private_key((self.directory / "id").read_bytes(), None)
        if not isinstance(loaded, Ed25519PrivateKey):
            raise TypeError("ssh-keygen was asked for ed25519")
        plain = serialization.NoEncryption()
        return loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()

    def command_in_campus(self, *command: str) -> list[str]:
        """The command that runs another one in the campus's network."""
        return [*campus.enter_command(self.lab.name), *command]

    def count_logins(self) -> int:
        """Number of SSH logins that the machines have accepted so far."""
        total = 0
        for vmid in range(1001, 1001 + len(self.keys)):
            _, text, _ = self.lab.ask("run", vmid=vmid, argv=["journalctl", "-u", "ssh", "--no-pager"])
            total += text.count("Accepted publickey")
        return total


@contextmanager
def boot_machines(count: int) -> Iterator[Machines]:
    """Boots machines and serves the stub of K3s; removes everything at the end."""
    name = f"bench-boot-{count}-{int(time.time())}"
    with tempfile.TemporaryDirectory(prefix="bench-boot-") as scratch, ThreadPoolExecutor(8) as pool:
        campus.up(dump_request(CampusRequest(replace(CAMPUS, name=name))), name, report=lambda _line: None)
        try:
            lab = Lab(name, Path(scratch))
            list(pool.map(lab.boot, range(1, count + 1)))
            site = make_site(count)
            keys = {node.name: lab.host_key(1000 + n) for n, node in enumerate(site.machines, start=1)}
            with serve_stub(name, Path(scratch)):
                yield Machines(
                    lab, site, {host: " ".join(key.split()[:2]) for host, key in keys.items()}, Path(scratch)
                )
        finally:
            campus.down(name)


@contextmanager
def serve_stub(name: str, scratch: Path) -> Iterator[None]:
    """Serves the stub at <version>/k3s with its checksum, over HTTP in the campus's network."""
    home = scratch / "www" / VERSION
    home.mkdir(parents=True)
    content = STUB.read_bytes().replace(b"@VERSION@", VERSION.encode())
    (home / "k3s").write_bytes(content)
    (home / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(content).hexdigest()}  k3s\n")
    command = [
        *campus.enter_command(name),
        sys.executable,
        "-m",
        "http.server",
        str(PORT),
        "--directory",
        str(home.parent),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def program_input(machines: Machines, agents: int | None = None) -> dict[str, Any]:
    """Input of the Pulumi program, as JSON; with `agents` only so many of them."""
    chosen = [node.name for node in machines.site.machines][: None if agents is None else SERVERS + agents]
    plain: dict[str, Any] = json.loads(machines.site.model_dump_json(by_alias=True))
    return {"site": plain, "keys": {name: machines.keys[name] for name in chosen}, "private_key": machines.private_key}
