#!/usr/bin/python3
"""K3s as far as a bootstrap looks at it, and as fast as nothing: every contender waits for the same."""

import os
import socket
import sys
import threading
from pathlib import Path

DATA = Path("/var/lib/rancher/k3s/server")


def serve() -> None:
    """Answers `/cacerts` in plain TCP; curl is told to take it as it is."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415 - only a server needs it

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"CA")

        def log_message(self, *_: object) -> None:
            pass

    import ssl  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=k3s -days 1 -keyout k -out c".split(),  # noqa: SIM905
        cwd="/run",
        check=True,
        stderr=subprocess.DEVNULL,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/run/c", "/run/k")
    server = ThreadingHTTPServer(("", 6443), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def run(kind: str) -> None:
    """Is ready at once, and stays."""
    if kind == "server":
        (DATA / "tls").mkdir(parents=True, exist_ok=True)
        (DATA / "db/etcd/member").mkdir(parents=True, exist_ok=True)
        (DATA / "tls/server-ca.crt").write_text("CA\n")
        Path("/etc/rancher/k3s/k3s.yaml").write_text("server: https://127.0.0.1:6443\n")
        serve()
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)
    threading.Event().wait()


match sys.argv[1:]:
    case ["--version"]:
        sys.stdout.write("k3s version @VERSION@ (stub)\n")
    case ["kubectl", "get", "nodes", *_]:
        sys.stdout.write("".join(f"gpu-{number:02d} True\n" for number in range(100)))
    case ["kubectl", "get", *_]:
        sys.stdout.write("True")
    case [("server" | "agent") as kind, *_]:
        run(kind)
