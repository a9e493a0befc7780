"""Where the project and its site files are."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SITES = PROJECT / "config" / "sites"


def project_path(path: Path) -> str:
    """A path as it is shown: relative to the project where it is inside it."""
    path = path.resolve()
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


def site_path(site: str) -> Path:
    """The file of a site that is given by its name, as in `lab`, or by a path, as in `config/sites/lab.yaml`."""
    return Path(site) if "/" in site or site.endswith(".yaml") else SITES / f"{site}.yaml"
