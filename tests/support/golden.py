"""Texts that are kept in tests/data, so that a change of them is a change that somebody reads."""

import difflib
import os
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
UPDATE = "LYCEUM_UPDATE_GOLDEN"


def check(name: str, text: str) -> None:
    """Holds a text against tests/data/<name>; with LYCEUM_UPDATE_GOLDEN=1 it writes the file instead."""
    path = DATA / name
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    kept = path.read_text() if path.exists() else ""
    difference = "".join(
        difflib.unified_diff(kept.splitlines(keepends=True), text.splitlines(keepends=True), f"kept {name}", "now")
    )
    assert kept == text, f"{difference}\nif this is wanted: {UPDATE}=1, run again, and review the difference"
