"""From the name of a site to its stack."""

from ruamel.yaml import YAML

from config.errors import LyceumError, UsageError
from config.paths import SITES
from config.site import Site
from config.validate import validate_file
from ops.console import errors
from ops.engine.stack import PROJECT, Stack


def sound_site(name: str) -> Site:
    """The site; tells its mistakes and ends the command if it has any."""
    checked = validate_file(SITES / f"{name}.yaml")
    if checked.site is None:
        for finding in checked.findings:
            errors.print(str(finding), markup=False)
        raise LyceumError(f"{name} has mistakes; nothing was asked and nothing was changed")
    return checked.site


def stack_of(site: str, chosen: str | None = None) -> Stack:
    """The stack of a site: the chosen one, or the only one whose file names it."""
    found = sorted(path.name.split(".")[1] for path in PROJECT.glob("Pulumi.*.yaml") if _site(path.name) == site)
    if chosen:
        if chosen not in found:
            raise UsageError(
                f"the stack `{chosen}` is not of the site `{site}`; its stacks: {', '.join(found) or 'none'}"
            )
        return Stack(chosen)
    if len(found) != 1:
        known = (
            f"its stacks are {', '.join(found)}: choose with --stack" if found else "no Pulumi.<stack>.yaml names it"
        )
        raise UsageError(f"which stack of the site `{site}`? {known}")
    return Stack(found[0])


def _site(file: str) -> str | None:
    data = YAML(typ="safe").load(PROJECT / file) or {}
    name = (data.get("config") or {}).get("lyceum:site")
    return name if isinstance(name, str) else None
