"""From the name of a site to its stack."""

from ruamel.yaml import YAML

from config.errors import LyceumError, UsageError
from config.paths import site_path
from config.site import Site
from config.validate import validate_file
from ops.console import errors
from ops.engine.stack import PROJECT, Stack


def sound_site(name: str) -> Site:
    """The site of a name or a path, without mistakes.

    Raises:
        LyceumError: it has mistakes, which are printed.
    """
    result = validate_file(site_path(name))
    if result.site is None:
        for finding in result.findings:
            errors.print(str(finding), markup=False)
        raise LyceumError(f"{name} is not a valid site; nothing was changed")
    return result.site


def stack_of(site: str, chosen: str | None = None) -> Stack:
    """The stack of a site, given by name or path: the chosen one, or the only one whose file names the site."""
    site = site_path(site).stem
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
