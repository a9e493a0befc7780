#!/usr/bin/python3 -ISB
"""Stub of K3s: what a bootstrap sees of it, in almost no time, so that all contenders wait equally long."""

import os
import signal
import sys

DATA = "/var/lib/rancher/k3s/server"


def serve() -> None:
    """Answers `/cacerts` over TLS, as the first server does."""
    import ssl  # noqa: PLC0415 - only a server needs these
    import subprocess  # noqa: PLC0415
    import threading  # noqa: PLC0415
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"CA")

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

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
    """Reports READY at once, and keeps running."""
    from _socket import AF_UNIX, SOCK_DGRAM, socket  # noqa: PLC0415 - a third of what `socket` takes

    if kind == "server":
        os.makedirs(f"{DATA}/tls", exist_ok=True)
        os.makedirs(f"{DATA}/db/etcd/member", exist_ok=True)
        with open(f"{DATA}/tls/server-ca.crt", "w") as ca, open("/etc/rancher/k3s/k3s.yaml", "w") as way_in:
            ca.write("CA\n")
            way_in.write("server: https://127.0.0.1:6443\n")
        serve()
    if address := os.environ.get("NOTIFY_SOCKET"):
        socket(AF_UNIX, SOCK_DGRAM).sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
    signal.pause()


match sys.argv[1:]:
    case ["--version"]:
        sys.stdout.write("k3s version @VERSION@ (stub)\n")
    case ["kubectl", "get", "nodes", *_]:
        sys.stdout.write("".join(f"gpu-{number:02d} True\n" for number in range(100)))
    case ["kubectl", "get", *_]:
        sys.stdout.write("True")
    case [("server" | "agent") as kind, *_]:
        run(kind)
