"""The door to the campus's pages: an HTTP proxy that knows the pages and nothing else."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab.door import DoorSettings, browser_command, reply, serve

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def ask(request: bytes, settings: DoorSettings | None = None) -> bytes:
    """What the door answers to the bytes of a request, until it closes."""

    async def through() -> bytes:
        page = await asyncio.start_server(_greet, "127.0.0.1", 0)
        names = {"jupyter.campus.example": "127.0.0.1"}
        port = page.sockets[0].getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as listening:
            door = asyncio.create_task(serve(listening, settings or DoorSettings(0, names, ())))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(request.replace(b"PORT", str(port).encode()))
            answer = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            door.cancel()
        page.close()
        return answer

    return asyncio.run(through())


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A page of the campus: reads a word and answers it."""
    word = await reader.readexactly(4)
    writer.write(b"the page heard " + word)
    await writer.drain()
    writer.close()


def test_a_browser_is_joined_with_a_page() -> None:
    assert ask(b"CONNECT jupyter.campus.example:PORT HTTP/1.1\r\n\r\nping") == (
        b"HTTP/1.1 200 Connected\r\n\r\nthe page heard ping"
    )


@pytest.mark.parametrize("host", [b"127.0.0.1", b"grafana.campus.example", b"example.com"])
def test_nothing_else_is_reached(host: bytes) -> None:
    """The door is no way to this machine's own ports, nor out."""
    assert ask(b"CONNECT " + host + b":PORT HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 502 Bad Gateway")


def test_plain_http_leads_to_tls() -> None:
    answer = ask(b"GET http://jupyter.campus.example/hub/ HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 301")
    assert b"Location: https://jupyter.campus.example/\r\n" in answer


def test_the_door_hands_out_the_cas_and_the_proxy_configuration(tmp_path: Path) -> None:
    files = [tmp_path / "campus.pem", tmp_path / "pages.pem"]
    for file in files:
        file.write_text(f"{file.stem}\n")
    settings = DoorSettings(8321, {"jupyter.campus.example": "10.9.0.50"}, tuple(map(str, files)))

    assert reply("/ca.pem", settings).endswith(b"\r\n\r\ncampus\npages\n")
    assert b'["jupyter.campus.example"].includes(host)' in reply("/proxy.pac", settings)
    assert b"https://jupyter.campus.example/" in reply("/", settings)


def test_the_browsers_command_touches_no_store_of_the_persons_own() -> None:
    words = browser_command(DoorSettings(8321, {}, ()), Path("/somewhere"), "https://jupyter.campus.example/")

    assert words[:3] == ["env", "HOME=/somewhere", "chromium"]
    assert "--proxy-server=http://127.0.0.1:8321" in words
