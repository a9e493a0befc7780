"""What is asked of Proxmox besides the provider, over real HTTP, with a clock that does not make us wait."""

import datetime as dt
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.proxmox import client

TOKEN = "lyceum@pve!lyceum=secret-of-the-token"
KEY = "ssh-ed25519 AAAAC3Nz lyceum-node"
IMAGE = ("pve1", "local", "node.qcow2", "https://images/node.qcow2")
VOLUME = "local:import/node.qcow2"

CUT = 0
"""In place of a status: the connection ends without an answer."""

Answer = tuple[int, object]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Proxmox:
    """Answers each call with the next thing that is laid down for it; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], str | None]] = []

    def lay(self, call: str, *answers: Answer) -> None:
        self.answers[call] = list(answers)

    def answer(self, method: str, path: str) -> Answer:
        waiting = self.answers.get(f"{method} {path}", [(501, {"message": "not laid down"})])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def serve(self) -> ThreadingHTTPServer:
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.handle_call()

            def do_POST(self) -> None:
                self.handle_call()

            def handle_call(self) -> None:
                parts = urlsplit(self.path)
                path = parts.path.removeprefix("/api2/json")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                parameters = parse_qs(parts.query or body)
                recorded.asked.append((self.command, path, parameters, self.headers.get("Authorization")))
                status, data = recorded.answer(self.command, path)
                if status == CUT:
                    return
                self.send_response(status)
                self.end_headers()
                if not isinstance(data, bytes):
                    data = json.dumps(data if status != 200 else {"data": data}).encode()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing on the test's output."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def listening(proxmox: Proxmox, wrap: Callable[[ThreadingHTTPServer], None] | None = None) -> Iterator[int]:
    server = proxmox.serve()
    if wrap:
        wrap(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def proxmox() -> Proxmox:
    return Proxmox()


@pytest.fixture
def api(proxmox: Proxmox) -> Iterator[client.Pve]:
    with listening(proxmox) as port:
        yield client.Pve(f"http://127.0.0.1:{port}/", TOKEN, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    passing = Clock()
    monkeypatch.setattr(client, "time", passing)
    return passing


def has(*volumes: str) -> Answer:
    return 200, [{"volid": volume} for volume in volumes]


CONTENT = "/nodes/pve1/storage/local/content"
DOWNLOAD = "/nodes/pve1/storage/local/download-url"
TASK = "UPID:pve1:0001:0002:0003:download:node.qcow2:lyceum@pve!lyceum:"
STATUS = f"/nodes/pve1/tasks/{quote(TASK, safe='')}/status"
AGENT = "/nodes/pve1/qemu/100041/agent/file-read"
SILENT: Answer = (500, {"message": "QEMU guest agent is not running"})
RUNNING: Answer = (200, {"status": "running"})


def ended(result: str) -> Answer:
    return 200, {"status": "stopped", "exitstatus": result}


def test_an_image_that_is_there_is_not_downloaded(api: client.Pve, proxmox: Proxmox) -> None:
    proxmox.lay(f"GET {CONTENT}", has("local:import/other.qcow2", VOLUME))

    assert client.ensure_image(api, *IMAGE) == VOLUME
    assert [method for method, *_ in proxmox.asked] == ["GET"]


def test_a_missing_image_is_downloaded_with_its_checksum(api: client.Pve, proxmox: Proxmox, clock: Clock) -> None:
    proxmox.lay(f"GET {CONTENT}", has())
    proxmox.lay(f"POST {DOWNLOAD}", (200, TASK))
    proxmox.lay(f"GET {STATUS}", RUNNING, RUNNING, ended("OK"))

    assert client.ensure_image(api, *IMAGE, "ab" * 64) == VOLUME
    [posted] = [parameters for method, _, parameters, _ in proxmox.asked if method == "POST"]
    assert posted == {
        "content": ["import"],
        "filename": ["node.qcow2"],
        "url": ["https://images/node.qcow2"],
        "checksum": ["ab" * 64],
        "checksum-algorithm": ["sha512"],
    }
    assert clock.now == 2, "it looks once a second until the task has ended"


def test_an_image_without_a_checksum_is_asked_for_without_one(api: client.Pve, proxmox: Proxmox, clock: Clock) -> None:
    proxmox.lay(f"GET {CONTENT}", has())
    proxmox.lay(f"POST {DOWNLOAD}", (200, TASK))
    proxmox.lay(f"GET {STATUS}", ended("OK"))
    client.ensure_image(api, *IMAGE)

    [posted] = [parameters for method, _, parameters, _ in proxmox.asked if method == "POST"]
    assert "checksum" not in posted


def test_a_failed_download_says_why_and_where_its_log_is(api: client.Pve, proxmox: Proxmox, clock: Clock) -> None:
    proxmox.lay(f"GET {CONTENT}", has())
    proxmox.lay(f"POST {DOWNLOAD}", (200, TASK))
    proxmox.lay(f"GET {STATUS}", ended("checksum mismatch"))

    with pytest.raises(
        client.PveError, match=r"could not download https://images/node.qcow2: checksum mismatch"
    ) as error:
        client.ensure_image(api, *IMAGE)
    assert TASK in str(error.value)


def test_a_refused_download_names_call_code_and_error_message(api: client.Pve, proxmox: Proxmox) -> None:
    proxmox.lay(f"GET {CONTENT}", has())
    proxmox.lay(f"POST {DOWNLOAD}", (403, {"message": "Permission check failed (/, Sys.Modify)\n"}))

    with pytest.raises(
        client.PveError, match=r"^POST /nodes/pve1/.*download-url: 403 Permission check failed \(/, Sys.Modify\)$"
    ):
        client.ensure_image(api, *IMAGE)


def test_a_download_that_never_ends_is_given_up(api: client.Pve, proxmox: Proxmox, clock: Clock) -> None:
    proxmox.lay(f"GET {CONTENT}", has())
    proxmox.lay(f"POST {DOWNLOAD}", (200, TASK))
    proxmox.lay(f"GET {STATUS}", RUNNING)

    with pytest.raises(client.PveError, match="timed out after 1800 s"):
        client.ensure_image(api, *IMAGE)


def test_a_host_key_is_its_type_and_key_without_the_comment(api: client.Pve, proxmox: Proxmox) -> None:
    proxmox.lay(f"GET {AGENT}", (200, {"content": f"{KEY}\n"}))

    assert client.read_host_key(api, "pve1", "100041") == "ssh-ed25519 AAAAC3Nz"
    assert proxmox.asked[0][2] == {"file": ["/etc/ssh/ssh_host_ed25519_key.pub"]}


@pytest.mark.parametrize(
    "not_yet",
    [
        SILENT,
        (200, {"content": ""}),
        (200, {"content": "ssh-ed25519"}),
        (502, b"<html>"),
        (CUT, None),
        (200, b"no JSON"),
    ],
)
def test_a_machine_that_is_still_booting_is_waited_for(
    api: client.Pve, proxmox: Proxmox, clock: Clock, not_yet: Answer
) -> None:
    """A key file that is only half written is no key."""
    proxmox.lay(f"GET {AGENT}", not_yet, not_yet, (200, {"content": KEY}))

    assert client.read_host_key(api, "pve1", "100041") == "ssh-ed25519 AAAAC3Nz"
    assert clock.now == 2


def test_a_silent_agent_ends_the_wait_with_what_to_look_at(api: client.Pve, proxmox: Proxmox, clock: Clock) -> None:
    proxmox.lay(f"GET {AGENT}", SILENT)

    with pytest.raises(client.PveError) as error:
        client.read_host_key(api, "pve1", "100041")
    text = str(error.value)
    assert "VM 100041 on pve1" in text
    assert "is qemu-guest-agent in the image?" in text
    assert "QEMU guest agent is not running" in text, "the last reason must be in it"
    assert clock.now == client.BOOT_SECONDS


def test_a_long_wait_is_reported_every_ten_seconds(
    api: client.Pve, proxmox: Proxmox, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    proxmox.lay(f"GET {AGENT}", *[SILENT] * 25, (200, {"content": KEY}))
    client.read_host_key(api, "pve1", "100041")

    captured = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(" of")[0] for line in captured] == ["10 s", "20 s"]


def test_the_token_is_sent_as_proxmox_wants_it(api: client.Pve, proxmox: Proxmox) -> None:
    proxmox.lay(f"GET {CONTENT}", has(VOLUME))
    client.ensure_image(api, *IMAGE)

    assert proxmox.asked[0][3] == f"PVEAPIToken={TOKEN}"


def test_an_endpoint_that_does_not_answer_is_named() -> None:
    silent = client.Pve("http://127.0.0.1:9/", TOKEN, None)

    with pytest.raises(client.PveError, match=r"http://127.0.0.1:9/api2/json/ does not answer: .*refused"):
        silent.call("GET", "version")


def run_command(port: int, *arguments: str, monkeypatch: pytest.MonkeyPatch, ca: str = "", scheme: str = "http") -> int:
    for name, value in {"PVE_ENDPOINT": f"{scheme}://127.0.0.1:{port}", "PVE_TOKEN": TOKEN, "PVE_CA": ca}.items():
        monkeypatch.setenv(name, value)
    return client.main(list(arguments))


def test_the_command_prints_the_answer_and_nothing_else(
    proxmox: Proxmox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pulumi keeps standard output as the resource's value."""
    proxmox.lay(f"GET {CONTENT}", has(VOLUME))
    with listening(proxmox) as port:
        code = run_command(port, "image", *IMAGE, monkeypatch=monkeypatch)

    assert (code, capsys.readouterr().out) == (0, VOLUME)


def test_the_command_fails_with_one_line_that_does_not_hold_the_token(
    proxmox: Proxmox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxmox.lay(f"GET {CONTENT}", (401, {"message": "invalid token value!"}))
    with listening(proxmox) as port:
        code = run_command(port, "image", *IMAGE, monkeypatch=monkeypatch)

    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert captured.err == f"GET {CONTENT}: 401 invalid token value!\n"
    assert "secret-of-the-token" not in captured.err


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that signs itself for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = tmp_path / "pve.pem", tmp_path / "pve.key"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


@pytest.mark.parametrize(("trusted", "code"), [(True, 0), (False, 1)])
def test_only_a_certificate_of_the_given_ca_is_talked_to(  # noqa: PLR0917 - fixtures
    proxmox: Proxmox,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trusted: bool,
    code: int,
) -> None:
    pem, key = certificate
    proxmox.lay(f"GET {CONTENT}", has(VOLUME))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)

    def wrap(server: ThreadingHTTPServer) -> None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)

    with listening(proxmox, wrap) as port:
        ca = str(pem) if trusted else ""
        assert run_command(port, "image", *IMAGE, monkeypatch=monkeypatch, ca=ca, scheme="https") == code

    captured = capsys.readouterr()
    assert ("CERTIFICATE_VERIFY_FAILED" in captured.err) is not trusted
    assert proxmox.asked == [] or trusted, "the token must not be sent to a stranger"
