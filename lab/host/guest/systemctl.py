"""The `systemctl` command of a VM, and the power commands beside it: they ask PID 1."""

import os
import sys

# systemd's own commands start in a few milliseconds: `socket` and `json` would double what these take.
from _socket import AF_UNIX, SHUT_WR, socket

CONTROL = "/run/systemd/private"
POWER = ("reboot", "poweroff")
_END = "\0"
_CHUNK = 65536


def encode_words(words: list[str]) -> bytes:
    """Texts as they go between a command and PID 1; the end of the stream ends the last."""
    return _END.join(word.replace(_END, "\\0") for word in words).encode()


def decode_words(data: bytes) -> list[str]:
    """What `encode_words` has packed."""
    return data.decode().split(_END) if data else []


def send_command(argv: list[str]) -> tuple[int, str, str]:
    """Send a command line to PID 1; returns exit status, output and errors."""
    channel = socket(AF_UNIX)
    channel.connect(CONTROL)
    channel.sendall(encode_words(argv))
    channel.shutdown(SHUT_WR)
    answer = b""
    while chunk := channel.recv(_CHUNK):
        answer += chunk
    channel.close()
    return decode_answer(answer)


def decode_answer(data: bytes) -> tuple[int, str, str]:
    """PID 1's answer: exit status, output and errors."""
    if not data:
        return 1, "", "Failed to get a reply from PID 1: it is going down\n"
    code, out, err = decode_words(data)
    return int(code), out, err


def main(argv: list[str]) -> int:
    """`systemctl ARGV`, or `reboot`, `poweroff`, `shutdown` by the name it was called by."""
    called = os.path.basename(argv[0])
    words = argv[1:]
    if called == "shutdown":
        words = ["reboot" if "-r" in words else "poweroff"]
    elif called in POWER:
        words = [called]
    try:
        code, out, err = send_command(words)
    except OSError as error:
        code, out, err = 1, "", f"System has not been booted with systemd as init system: {error}\n"
    sys.stdout.write(out)
    sys.stderr.write(err)
    return code
