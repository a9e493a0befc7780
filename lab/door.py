"""A door for people: the campus's pages in a browser of this machine.

The campus has no route out, so the door is an HTTP proxy: it listens on this machine's loopback and connects inside the
campus, where it knows the pages' names. TLS passes through: the browser checks the certificates that the campus issued.

    python -m lab.door DESCRIPTOR SETTINGS     in the campus's network; the listening socket was opened outside
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from lab import campus, identity
from lab.rundir import PROJECT, RunDir
from lab.session import kubectl_command
from lab.spec import load_request

PORT = 8321
"""Where the door is, unless asked for elsewhere."""
PAGES_CA = ("get", "secret", "campus-ca", "--namespace", "cert-manager", "--output", "jsonpath={.data.tls\\.crt}")
"""The CA that cert-manager signs pages with; the identity provider's is the campus's own."""
_CHUNK = 65536
_HEAD_BYTES = 65536


@dataclass(frozen=True)
class DoorSettings:
    """What the door serves."""

    port: int
    names: dict[str, str]
    """Host name -> address in the campus."""
    authorities: tuple[str, ...]
    """Files with the CAs of the pages (PEM)."""
    people: str = ""
    """Who can log in, for a person to read."""

    @property
    def bundle(self) -> bytes:
        """All CAs."""
        return b"".join(Path(file).read_bytes() for file in self.authorities)


def prepare(lab: str, port: int) -> DoorSettings:
    """Finds the pages and writes down the CAs of their certificates.

    Raises:
        NotRunning: the campus is down.
    """
    run = RunDir.of(lab)
    campus.enter_command(lab)  # refuses while the campus is down
    spec = load_request(run.spec.read_bytes()).spec
    names = {host: str(address) for host, address in spec.pages}
    if spec.login:
        names[spec.login.host] = str(spec.login.address)
    authorities = [str(run.ca)]
    done = subprocess.run(kubectl_command(lab, PAGES_CA), capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        pages_ca = run.path / "pages-ca.pem"
        pages_ca.write_bytes(base64.b64decode(done.stdout))
        authorities.append(str(pages_ca))
    if not spec.real_nodes:
        people = "None of them answers: no pod of this campus really runs."
    else:
        people = identity.describe_people(spec.login) if spec.login else "Nobody can log in: there is no provider."
    return DoorSettings(port, names, tuple(authorities), people)


def browser_home(lab: str, settings: DoorSettings) -> Path | None:
    """A home directory for Chromium that trusts the campus's CAs and touches no store of the person's own.

    Returns:
        The directory; None without `certutil`.
    """
    home = RunDir.of(lab).path / "browser"
    store = home / ".pki/nssdb"
    if not shutil.which("certutil"):
        return None
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True, mode=0o700)
    certutil = ["certutil", "-d", f"sql:{store}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True, capture_output=True)
    for number, file in enumerate(settings.authorities):
        subprocess.run([*certutil, "-A", "-t", "C,,", "-n", f"campus-{number}", "-i", file], check=True)
    return home


def browser_command(settings: DoorSettings, home: Path, url: str) -> list[str]:
    """Chromium with the campus as its only network."""
    proxy = f"--proxy-server=http://127.0.0.1:{settings.port}"
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    return ["env", f"HOME={home}", "chromium", proxy, "--no-first-run", *root, url]


def listen(port: int) -> socket.socket:
    """Opens the door's port on this machine's loopback.

    Raises:
        CampusError: another program has it.
    """
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise campus.CampusError(f"port {port}: {error.strerror}. Remedy: --port with another number") from None


def run(lab: str, settings: DoorSettings, listening: socket.socket) -> NoReturn:
    """Serves until interrupted, in place of this process: whoever ends it ends the door."""
    listening.set_inheritable(True)
    words = [sys.executable, "-m", "lab.door", str(listening.fileno()), json.dumps(asdict(settings))]
    command = [*campus.enter_command(lab), *words]
    sys.stdout.flush()
    os.execvpe(command[0], command, os.environ | {"PYTHONPATH": str(PROJECT)})  # noqa: S606


async def serve(listening: socket.socket, settings: DoorSettings) -> None:
    """Answers at the socket from now on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, *_ = head.decode("latin-1").split(" ", 2)
            if method == "CONNECT":
                await _connect(target, settings, reader, writer)
            else:
                writer.write(reply(target, settings))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening, limit=_HEAD_BYTES)
    await server.serve_forever()


def reply(target: str, settings: DoorSettings) -> bytes:
    """The answer to a request that is no tunnel: the door's own pages, or the way to a page's TLS. Pure but for files."""
    if target.startswith("http://"):
        host = target.removeprefix("http://").partition("/")[0]
        return _response("301 Moved Permanently", "text/plain", b"", f"Location: https://{host}/\r\n")
    if target == "/ca.pem":
        return _response("200 OK", "application/x-pem-file", settings.bundle)
    if target == "/proxy.pac":
        return _response("200 OK", "application/x-ns-proxy-autoconfig", proxy_configuration(settings).encode())
    return _response("200 OK", "text/html; charset=utf-8", front_page(settings).encode())


def proxy_configuration(settings: DoorSettings) -> str:
    """A proxy auto-configuration file: the campus's pages through the door, everything else as before."""
    names = json.dumps(sorted(settings.names))
    return f"function FindProxyForURL(url, host) {{ return {names}.includes(host) ? 'PROXY 127.0.0.1:{settings.port}' : 'DIRECT'; }}\n"


def front_page(settings: DoorSettings) -> str:
    """What a browser shows at the door itself."""
    links = "".join(f'<li><a href="https://{name}/">{name}</a>' for name in sorted(settings.names))
    door = f"http://127.0.0.1:{settings.port}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>The campus</title><h1>The campus</h1><ul>{links}</ul>'
        f"<p>They open once this browser uses <code>{door}/proxy.pac</code> as its automatic proxy configuration "
        f'and trusts <a href="/ca.pem">the campus\'s CAs</a>.</p></html>'
    )


def _response(status: str, kind: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body


async def _connect(
    target: str, settings: DoorSettings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Joins a browser with a page."""
    host, _, port = target.rpartition(":")
    try:
        theirs, ours = await asyncio.open_connection(settings.names[host], int(port))
    except (KeyError, ValueError, OSError) as error:
        text = f"{target}: {'the campus has no such page' if isinstance(error, KeyError) else error}\n"
        writer.write(_response("502 Bad Gateway", "text/plain", text.encode()))
        await writer.drain()
        return
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(_copy(reader, ours), _copy(theirs, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()


def main(words: Sequence[str]) -> None:
    """Serves until it is ended."""
    descriptor, settings = words
    listening = socket.socket(fileno=int(descriptor))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(listening, DoorSettings(**json.loads(settings))))


if __name__ == "__main__":
    main(sys.argv[1:])
