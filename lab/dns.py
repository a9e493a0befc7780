"""The campus's name server: knows its VMs and services, and says at once that there is nothing else.

Without it every look-up of a name in a VM would wait for seconds: nothing else in the campus answers on port 53.
Only questions for addresses over UDP; RFC 1035 is small enough for that.
"""

import asyncio
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

PORT = 53
TTL_SECONDS = 5
"""Short, because VMs come and go."""
_HEADER = struct.Struct("!6H")
_A, _IN = 1, 1
_RESPONSE, _AUTHORITATIVE, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0080
_RECURSION_DESIRED = 0x0100
_FORMAT_ERROR, _NO_SUCH_NAME = 1, 3

Names = Callable[[str], IPv4Address | None]


def build_answer(query: bytes, find: Names) -> bytes | None:
    """The answer to a question: the address, no data for other types of a known name, or that there is no such name.

    `find` knows addresses by lower-case names without the last dot. Returns None for what is not a question.
    """
    if len(query) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE:
        return None
    reply = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | (flags & _RECURSION_DESIRED)
    parsed = _parse_question(query) if questions == 1 else None
    if parsed is None:
        return _HEADER.pack(number, reply | _FORMAT_ERROR, 0, 0, 0, 0)
    name, kind, end = parsed
    address = find(name.lower())
    code = 0 if address else _NO_SUCH_NAME
    records = b""
    if address and kind == _A:
        # The name is a pointer to the question, which starts right after the header.
        records = struct.pack("!HHHIH", 0xC000 | _HEADER.size, _A, _IN, TTL_SECONDS, 4) + address.packed
    header = _HEADER.pack(number, reply | code, 1, 1 if records else 0, 0, 0)
    return header + query[_HEADER.size : end] + records


def _parse_question(query: bytes) -> tuple[str, int, int] | None:
    """Name, type and end of the question; None when it is malformed."""
    labels: list[str] = []
    at = _HEADER.size
    while at < len(query) and query[at]:
        length = query[at]
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", errors="replace"))
        at += 1 + length
    if at + 5 > len(query):
        return None
    kind = int.from_bytes(query[at + 1 : at + 3], "big")
    return ".".join(labels), kind, at + 5


class _Server(asyncio.DatagramProtocol):
    def __init__(self, find: Names) -> None:
        self._find = find
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = build_answer(data, self._find)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


async def serve(address: IPv4Address, find: Names) -> None:
    """Answer at `address` from now on."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Server(find), local_addr=(str(address), PORT))
