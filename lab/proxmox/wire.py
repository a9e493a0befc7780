"""HTTP as Proxmox VE speaks it: from a request to a `Call`, from a result to an answer."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lab.proxmox.errors import ApiError

BASE = "/api2/json"

DROP = "lyceum.drop"
"""Name of the ASGI extension by which a server lets the application close a connection without an answer."""


def api_path(raw_path: bytes) -> str:
    """The path below `/api2/json/`, still percent-encoded.

    The provider sends slashes at the end (`qemu/100/?purge=1`) and volume identifiers with `%2F`; so the raw path is
    split first and decoded later, piece by piece.
    """
    path = raw_path.decode("ascii", "replace").partition("?")[0]
    return path.removeprefix(BASE).strip("/")


async def read_parameters(request: Request) -> dict[str, list[str]]:
    """Query and form parameters, repeated ones as lists."""
    found: dict[str, list[str]] = {}
    body = (await request.body()).decode("utf-8", "replace")
    for name, value in (*request.query_params.multi_items(), *parse_qsl(body, keep_blank_values=True)):
        found.setdefault(name, []).append(value)
    return found


def read_token(request: Request) -> tuple[str, str, str] | None:
    """User, token name and secret of `Authorization: PVEAPIToken=USER@REALM!ID=SECRET`."""
    match = re.fullmatch(r"PVEAPIToken[= ](\S+?)!([\w.-]+)[=:]([\w-]+)", request.headers.get("authorization", ""))
    return (match[1], match[2], match[3]) if match else None


def read_ticket(request: Request) -> str | None:
    """The ticket of the `PVEAuthCookie`."""
    cookie = request.cookies.get("PVEAuthCookie")
    return unquote(cookie) if cookie else None


def success_response(data: Any) -> JSONResponse:
    """The envelope of a result."""
    return JSONResponse({"data": data})


def error_response(error: ApiError) -> JSONResponse:
    """The envelope of a refusal."""
    body: dict[str, Any] = {"data": None, "message": error.message + "\n"}
    if error.errors:
        body["errors"] = error.errors
    return JSONResponse(body, error.status)


class DroppedResponse(Response):
    """Closes the connection without an answer: what was asked for is done, but the client never hears."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close, and wait until the server has noticed."""
        scope["extensions"][DROP]()
        while (await receive())["type"] != "http.disconnect":
            pass
