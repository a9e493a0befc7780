"""Names that must be unique, because people and DNS know machines and pages by them."""

from collections.abc import Iterator

from config.base import expand_range
from config.finding import FieldPath, Finding
from config.site import Site


def check_machine_names(site: Site) -> Iterator[Finding]:
    """Hosts and nodes share one DNS domain, together with the pages people open."""
    taken = {label: f"the page of {'.'.join(str(part) for part in path[:-1])}" for path, label in pages(site)}
    groups = [
        *(("hosts", index, host.name) for index, host in enumerate(site.hosts)),
        *(("nodes", index, node.name) for index, node in enumerate(site.nodes)),
    ]
    for kind, index, pattern in groups:
        for name in expand_range(pattern):
            if name in taken:
                rule = f"is also the name of {taken[name]}"
                yield Finding((kind, index, "name"), rule, "give each its own name", value=name)
                break
            taken[name] = f"a machine of {kind}[{index}]"


def check_page_names(site: Site) -> Iterator[Finding]:
    """Each page has its own host name under the site's domain."""
    seen: dict[str, FieldPath] = {}
    for path, label in pages(site):
        if other := seen.get(label):
            where = ".".join(str(part) for part in other)
            yield Finding(path, f"is also the host name at {where}", "give each page its own name", value=label)
        seen.setdefault(label, path)


def pages(site: Site) -> list[tuple[FieldPath, str]]:
    """Host names of the pages that are installed, with the place of each in the file."""
    platform, workspaces = site.platform, site.workspaces
    layers = [
        (("workspaces", "jupyterhub", "host"), workspaces.jupyterhub.enabled, workspaces.jupyterhub.host),
        (("workspaces", "jupyterhub", "test-host"), workspaces.jupyterhub.enabled, workspaces.jupyterhub.test_host),
        (("workspaces", "triton", "host"), workspaces.triton.enabled, workspaces.triton.host),
        (("platform", "rancher", "host"), platform.rancher.enabled, platform.rancher.host),
        (("platform", "registry", "host"), platform.registry.enabled, platform.registry.host),
        (("identity", "authentik", "host"), site.identity.authentik.enabled, site.identity.authentik.host),
    ]
    return [(path, label) for path, enabled, label in layers if enabled and label]
