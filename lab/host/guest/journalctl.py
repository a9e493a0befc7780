"""The `journalctl` command of a VM: reads what its units have printed."""

import argparse
import os
import sys
from pathlib import Path

LOGS = Path("/var/log/units")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="journalctl", description="Units' output; the lab keeps no time stamps.")
    parser.add_argument("-u", "--unit", action="append", default=[])
    parser.add_argument("-n", "--lines", nargs="?", default=None, const="10")
    parser.add_argument("-f", "--follow", action="store_true")
    parser.add_argument("-o", "--output", help="accepted: every format prints the bare lines")
    parser.add_argument("--since", help="accepted: everything since the VM was created is printed")
    for ignored in ("--no-pager", "-e", "-x", "-r", "-b", "--no-hostname", "-q"):
        parser.add_argument(ignored, action="store_true", help="accepted")
    return parser


def main(argv: list[str]) -> int:
    """Print the logs of the named units, or of all."""
    arguments = _arguments().parse_args(argv[1:])
    names = [name if "." in name else f"{name}.service" for name in arguments.unit]
    files = [LOGS / f"{name}.log" for name in names] or sorted(LOGS.glob("*.log"))
    files = [file for file in files if file.exists()]
    if not files:
        sys.stdout.write("-- No entries --\n")
        return 0
    lines = "+1" if arguments.lines in {None, "all"} else str(arguments.lines)
    sys.stdout.flush()
    return os.execvp("tail", ["tail", "-q", *(["-F"] if arguments.follow else []), "-n", lines, *map(str, files)])  # noqa: S606
