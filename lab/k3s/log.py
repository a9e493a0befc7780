"""Log lines in the form that K3s's own have in the journal, so that what reads them can be tried in the lab."""

import sys
from datetime import UTC, datetime
from typing import NoReturn


def _write_line(level: str, message: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    sys.stderr.write(f'time="{now}" level={level} msg="{quoted}"\n')
    sys.stderr.flush()


def print_output(text: str) -> None:
    """Print the result of a command."""
    sys.stdout.write(f"{text}\n")


def info(message: str) -> None:
    """Log what is being done."""
    _write_line("info", message)


def warning(message: str) -> None:
    """Log what is unusual but does not stop the start."""
    _write_line("warning", message)


def error(message: str) -> None:
    """Log what failed and will be tried again."""
    _write_line("error", message)


def fatal(message: str) -> NoReturn:
    """Log why the process ends, and end it as K3s does."""
    _write_line("fatal", message)
    raise SystemExit(1)
