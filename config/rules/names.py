"""Names that must be unique, because they share the site's DNS domain."""

from collections.abc import Iterator

from config.base import expand_range
from config.finding import FieldPath, Finding
from config.layers import page_hosts
from config.site import Site


def check_machine_names(site: Site) -> Iterator[Finding]:
    """Hosts, nodes and pages share one DNS domain."""
    taken = {label: f"the page of {layer.switch}" for layer, _, label in page_hosts(site)}
    groups = [
        *(("hosts", index, host.name) for index, host in enumerate(site.hosts)),
        *(("nodes", index, node.name) for index, node in enumerate(site.nodes)),
    ]
    for kind, index, pattern in groups:
        for name in expand_range(pattern):
            if name in taken:
                rule = f"is also the name of {taken[name]}"
                yield Finding((kind, index, "name"), rule, "give each a different name", value=name)
                break
            taken[name] = f"a machine of {kind}[{index}]"


def check_page_names(site: Site) -> Iterator[Finding]:
    """Each page has its own host name under the site's domain."""
    seen: dict[str, FieldPath] = {}
    for path, label in page_labels(site):
        if other := seen.get(label):
            where = ".".join(str(part) for part in other)
            yield Finding(path, f"is also the host name at {where}", "give each page a different name", value=label)
        seen.setdefault(label, path)


def page_labels(site: Site) -> list[tuple[FieldPath, str]]:
    """Host labels of the pages that a site has, with the place of each in the file; those that no setting chooses first."""
    found = sorted(page_hosts(site), key=lambda item: bool(item[1].setting))
    return [(tuple((page.setting or layer.switch).split(".")), label) for layer, page, label in found]
