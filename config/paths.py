"""Where the project and its site files are."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SITES = PROJECT / "config" / "sites"


def project_path(path: Path) -> str:
    """A path as it is shown: relative to the project where it is inside it."""
    path = path.resolve()
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)
