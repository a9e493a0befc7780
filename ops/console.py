"""What operators see: the two consoles, steps with their durations."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def format_duration(seconds: float) -> str:
    """A duration as people write it: `0.4 s`, `12 s`, `2 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the title now, and again with the duration when the body has succeeded."""
    console.print(f"[dim]•[/] {title} …")
    start = time.monotonic()
    yield
    console.print(f"[green]✓[/] {title} [dim]({format_duration(time.monotonic() - start)})[/]")


def print_detail(text: str) -> None:
    """Prints a line below the current step, such as one that a machine's script wrote."""
    if text.strip():
        console.print(f"  [dim]{escape(text)}[/]")
