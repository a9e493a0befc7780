"""What people see: one console, steps with their times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def took(seconds: float) -> str:
    """A duration as people say it: `0.4 s`, `12 s`, `2 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Says what begins, and how long it took when it is done."""
    console.print(f"[dim]•[/] {title} …")
    start = time.monotonic()
    yield
    console.print(f"[green]✓[/] {title} [dim]({took(time.monotonic() - start)})[/]")


def aside(text: str) -> None:
    """Says what goes on meanwhile, in a machine's own words where it has some."""
    if text.strip():
        console.print(f"  [dim]{escape(text)}[/]")
