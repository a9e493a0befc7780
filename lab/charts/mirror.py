"""The campus mirror: charts, the K3s launcher and machine images over HTTP.

Layout, as Lyceum expects it of any mirror: ``/charts/index.yaml`` and its archives,
``/k3s/<version>/{k3s,sha256sum-amd64.txt}``, ``/images/<file>``. The campus daemon serves it over TLS.
"""

import hashlib
import re
import struct
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab.charts.archive import build_index, collect_archives, list_module_charts
from lab.k3s import checksums, launcher
from lab.request_log import RequestLog

LOG = "mirror-requests.jsonl"

K3S_VERSION = re.compile(r"v\d+\.\d+\.\d+\+k3s\d+")


def image_bytes(name: str) -> bytes:
    """A placeholder of a VM image: a qcow2 header and the file's name, the same bytes for the same name.

    The header (version 3, 64 KiB clusters, 4 GiB virtual size) lets a tool that looks at the file's type recognise it.
    """
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, 4 << 30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 104)
    return header + f"Lyceum lab: placeholder of the image {name}\n".encode()


def image_checksum(name: str) -> str:
    """The SHA-512 (hex) that a site's image entry names for a placeholder."""
    return hashlib.sha512(image_bytes(name)).hexdigest()


def create_app(run: Path, charts: Path | None = None, *, real_pods: bool = False) -> Starlette:
    """Builds the mirror.

    Args:
        run: The lab's run directory; requests are logged to ``log/mirror-requests.jsonl`` there.
        charts: Directory of real chart archives that replace stand-ins of the same name.
        real_pods: Whether controllers really run: then the charts that were packed beside them replace their stand-ins.

    Raises:
        CatalogError: The catalogue or `charts` holds something that is not a chart.
    """
    archives = collect_archives(charts, list_module_charts() if real_pods else ())
    files = {archive.file: archive.data for archive in archives}
    listing = build_index(archives)

    def not_found(what: str, name: str, known: list[str]) -> Response:
        return PlainTextResponse(f"no {what} '{name}' in this mirror; it holds: {', '.join(known)}\n", 404)

    async def chart(request: Request) -> Response:
        name = request.path_params["file"]
        if name == "index.yaml":
            return Response(listing, media_type="application/yaml")
        data = files.get(name)
        return Response(data, media_type="application/gzip") if data else not_found("chart", name, sorted(files))

    async def k3s(request: Request) -> Response:
        version, name = request.path_params["version"], request.path_params["file"]
        if not K3S_VERSION.fullmatch(version):
            return not_found("K3s version", version, ["every version of the form v1.36.4+k3s1"])
        if name == "k3s":
            return Response(launcher(version), media_type="application/octet-stream")
        if name == "sha256sum-amd64.txt":
            return PlainTextResponse(checksums(version))
        return not_found("K3s file", name, ["k3s", "sha256sum-amd64.txt"])

    async def image(request: Request) -> Response:
        return Response(image_bytes(request.path_params["file"]), media_type="application/octet-stream")

    async def root(_: Request) -> Response:
        return JSONResponse({"charts": {archive.file: archive.source for archive in archives}})

    app = Starlette(
        routes=[
            Route("/", root),
            Route("/charts/{file}", chart),
            Route("/k3s/{version}/{file}", k3s),
            Route("/images/{file}", image),
        ]
    )
    app.add_middleware(LogRequests, log=RequestLog(run / "log" / LOG))
    return app


class LogRequests:
    """ASGI middleware that logs each request with the size of its answer."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and counts what is sent back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, size = time.monotonic(), 500, 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._log.write(scope["method"], scope["path"], status, began, bytes=size)
