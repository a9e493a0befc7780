"""Files that are replaced atomically: a command may be killed while it writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PRIVATE, PUBLIC = 0o600, 0o644


def write_atomically(path: Path, text: str, mode: int = PUBLIC) -> None:
    """Writes a text file in one step, so that nobody ever reads half of it; keeps the mode of one that it replaces.

    Args:
        path: The file; missing directories are created.
        text: Its content.
        mode: Of a new file; one that is `PRIVATE` is never open to others, not even while it is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and mode != PRIVATE:
        mode = path.stat().st_mode & 0o777
    with open_atomically(path, mode) as file:
        file.write(text.encode())


@contextmanager
def open_atomically(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Opens a draft that replaces the file when the body has succeeded; after an error the file stays as it was."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
