"""The engine's state as its file backend keeps it: below `.pulumi`, each file with its attributes beside it, in `<file>.attrs`.

The backend writes a file's attributes first and puts the file in place afterwards (gocloud.dev/blob/fileblob). Killed in
between, the file is the previous one, the attributes are empty, and the engine fails with `EOF`; asked for its stacks, it
lists none. Without attributes it reads the file.
"""

import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

READ = (".pulumi/*.attrs", ".pulumi/stacks/**/*.attrs", ".pulumi/locks/**/*.attrs")
"""What the engine reads at every start; to history and backups it only adds."""


def backend_directory(url: str) -> Path | None:
    """Where a file backend keeps its state; None for another kind of backend, such as `s3://`."""
    if not url.startswith("file://"):
        return None
    return Path(unquote(url.removeprefix("file://").partition("?")[0])).expanduser()


def has_stack(backend: Path, project: str, name: str) -> bool:
    """Whether the backend has a stack, compressed or not (pulumi, pkg/backend/diy/store.go)."""
    stacks = backend / ".pulumi" / "stacks" / project
    return any((stacks / f"{name}.json{suffix}").exists() for suffix in ("", ".gz"))


def remove_truncated_attributes(backend: Path) -> None:
    """Removes attribute files that a kill has truncated."""
    for file in (found for pattern in READ for found in backend.glob(pattern)):
        with suppress(FileNotFoundError):  # another command has just replaced it
            if not _is_complete(file.read_bytes()):
                file.unlink()


def _is_complete(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
