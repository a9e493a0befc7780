"""The network as this machine sees it: which addresses answer, and what a name server resolves."""

import secrets
import socket
import struct
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

PORTS = (22, 443, 80)
"""A machine nearly always answers on one of these, at least by refusing the connection."""
SECONDS = 0.7
ARP = Path("/proc/net/arp")


class Network(Protocol):
    """What the doctor asks the network."""

    def find_holder(self, address: IPv4Address) -> str | None:
        """What answers at an address, as a noun phrase; None if nothing does."""
        ...

    def resolve(self, server: IPv4Address, name: str) -> list[str] | None:
        """IPv4 addresses that a name server gives for a name; None if it does not answer."""
        ...


class LocalNetwork:
    """The network as this machine sees it."""

    def find_holder(self, address: IPv4Address) -> str | None:
        """See `Network`."""
        for port in PORTS:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                connection.settimeout(SECONDS)
                try:
                    connection.connect((str(address), port))
                except ConnectionRefusedError:
                    return _mac_in_arp_table(address) or f"something that refuses port {port}"
                except OSError:
                    continue
                return _mac_in_arp_table(address) or f"something that answers on port {port}"
        return _mac_in_arp_table(address)

    def resolve(self, server: IPv4Address, name: str) -> list[str] | None:
        """See `Network`."""
        question, number = encode_dns_question(name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(2)
            try:
                channel.sendto(question, (str(server), 53))
                answer, _ = channel.recvfrom(4096)
            except OSError:
                return None
        return decode_dns_addresses(answer, number)


def _mac_in_arp_table(address: IPv4Address) -> str | None:
    """The MAC address that answered ARP for an address in our own network."""
    try:
        lines = ARP.read_text().splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        # Flag 0x2: the entry is complete, somebody answered.
        if fields and fields[0] == str(address) and int(fields[2], 16) & 2:
            return f"the MAC address {fields[3]}"
    return None


def encode_dns_question(name: str) -> tuple[bytes, int]:
    """A DNS query for IPv4 addresses (RFC 1035), and its ID."""
    number = secrets.randbelow(65536)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # One question, recursion desired; type A, class IN.
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1), number


def decode_dns_addresses(answer: bytes, number: int) -> list[str] | None:
    """IPv4 addresses of a DNS answer (RFC 1035); None if it does not answer the query of that ID."""
    try:
        found, _, questions, answers, _, _ = struct.unpack(">HHHHHH", answer[:12])
        if found != number:
            return None
        at = 12
        for _ in range(questions):
            at = _skip_name(answer, at) + 4
        addresses = []
        for _ in range(answers):
            at = _skip_name(answer, at)
            kind, _, _, length = struct.unpack(">HHIH", answer[at : at + 10])
            if kind == 1 and length == 4:
                addresses.append(str(IPv4Address(answer[at + 10 : at + 14])))
            at += 10 + length
    except (struct.error, IndexError, ValueError):
        return None
    return addresses


def _skip_name(message: bytes, at: int) -> int:
    while (length := message[at]) and length < 0xC0:
        at += length + 1
    return at + (2 if length else 1)
