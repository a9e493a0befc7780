"""The engine's state as its file backend keeps it: below `.pulumi`, each file with its attributes beside it, in `<file>.attrs`.

The backend writes a file's attributes first and puts the file in place afterwards (gocloud.dev/blob/fileblob). Killed in
between, the file is the whole one of before, the attributes are empty, and the engine says no more than `EOF`; asked for its
stacks, it says that there are none. Without attributes it reads the file.
"""

import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

READ = (".pulumi/*.attrs", ".pulumi/stacks/**/*.attrs", ".pulumi/locks/**/*.attrs")
"""What the engine reads at every start; of history and backups it only adds to."""


def directory(url: str) -> Path | None:
    """Where a file backend keeps its state; None for another one, such as `s3://`."""
    if not url.startswith("file://"):
        return None
    return Path(unquote(url.removeprefix("file://").partition("?")[0])).expanduser()


def mend(backend: Path) -> None:
    """Takes away attributes that a kill has cut off."""
    for file in (found for pattern in READ for found in backend.glob(pattern)):
        with suppress(FileNotFoundError):  # a command running in parallel has just replaced it
            if not _whole(file.read_bytes()):
                file.unlink()


def _whole(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
