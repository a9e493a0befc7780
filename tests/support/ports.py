"""Ports for servers that a test starts as processes of their own."""

import random
import socket

FIRST, LAST = 15_000, 32_000
"""Below the range from which Linux gives ports to connections, so that nobody gets one before its server listens."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(FIRST, LAST)
        with socket.socket() as probe:
            if port not in found and _is_free(probe, port):
                found.append(port)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def _is_free(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
