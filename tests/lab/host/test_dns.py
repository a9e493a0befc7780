"""The campus's name server, byte by byte."""

import struct
from ipaddress import IPv4Address

import pytest

from lab.dns import build_answer


def query(name: str, kind: int = 1, *, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def find(name: str) -> IPv4Address | None:
    return IPv4Address("10.21.0.41") if name == "gpu-1" else None


def test_a_known_name_gets_its_address_and_the_question_back() -> None:
    reply = build_answer(query("GPU-1"), find)
    assert reply is not None
    assert struct.unpack_from("!6H", reply) == (7, 0x8580, 1, 1, 0, 0)
    assert reply[12:23] == query("GPU-1")[12:], "resolvers compare the question, with the case they asked in"
    assert reply.endswith(IPv4Address("10.21.0.41").packed)


def test_an_unknown_name_does_not_exist_at_once() -> None:
    reply = build_answer(query("pool.ntp.org"), find)
    assert reply is not None
    assert struct.unpack_from("!6H", reply)[1] & 0xF == 3, "NXDOMAIN"


def test_a_known_name_without_an_ipv6_address_still_exists() -> None:
    reply = build_answer(query("gpu-1", kind=28), find)
    assert reply is not None
    assert struct.unpack_from("!6H", reply)[1:4] == (0x8580, 1, 0), "NXDOMAIN here would hide the IPv4 address"


@pytest.mark.parametrize("data", [b"", b"short", query("gpu-1", flags=0x8000)])
def test_what_is_no_question_gets_no_answer(data: bytes) -> None:
    assert build_answer(data, find) is None


def test_a_question_that_is_cut_off_is_a_format_error() -> None:
    reply = build_answer(query("gpu-1")[:-3], find)
    assert reply is not None
    assert struct.unpack_from("!6H", reply)[1] & 0xF == 1
