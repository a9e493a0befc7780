"""The `systemctl` command of a VM, and the power commands beside it: they ask PID 1."""

import json
import os
import socket
import sys

CONTROL = "/run/systemd/private"
POWER = {"reboot": "reboot", "poweroff": "poweroff", "halt": "poweroff"}


def ask(argv: list[str]) -> tuple[int, str, str]:
    """Send a command line to PID 1; returns exit status, output and errors."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(CONTROL)
        channel.sendall(json.dumps(argv).encode() + b"\n")
        with channel.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        return 1, "", "Failed to get a reply from PID 1: it is going down\n"
    code, out, err = json.loads(line)
    return code, out, err


def main(argv: list[str]) -> int:
    """`systemctl ARGV`, or `reboot`, `poweroff`, `halt`, `shutdown` by the name it was called by."""
    called = os.path.basename(argv[0])  # noqa: PTH119  # pathlib would double the time this takes
    words = argv[1:]
    if called == "shutdown":
        words = ["reboot" if "-r" in words else "poweroff"]
    elif called in POWER:
        words = [POWER[called]]
    try:
        code, out, err = ask(words)
    except OSError as error:
        code, out, err = 1, "", f"System has not been booted with systemd as init system: {error}\n"
    sys.stdout.write(out)
    sys.stderr.write(err)
    return code
