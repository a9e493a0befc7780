"""Names and patterns: every pattern expands, has the right length and refers to something that exists."""

from collections.abc import Generator, Iterator
from ipaddress import IPv4Address

from config.base import DNS_LABEL, MAC_ADDRESS, InvalidValueError, expand_range
from config.finding import FieldPath, Finding, suggest_name
from config.hosts import HostGroup, NodeGroup
from config.site import Site


def check_patterns(site: Site) -> Iterator[Finding]:
    """Patterns of hosts and nodes expand to one valid value for each name."""
    for index, host in enumerate(site.hosts):
        yield from _check_group(("hosts", index), host, addresses=("address", "bmc"))
    for index, node in enumerate(site.nodes):
        yield from _check_group(("nodes", index), node, addresses=("address",))


def _check_group(path: FieldPath, group: HostGroup | NodeGroup, *, addresses: tuple[str, ...]) -> Iterator[Finding]:
    names = yield from _try_expand((*path, "name"), group.name)
    if names is None:
        return
    for name in names:
        if not DNS_LABEL.matches(name):
            yield Finding((*path, "name"), "is not a valid host name", DNS_LABEL.remedy, value=name)
            break
        if name == "localhost":
            yield Finding((*path, "name"), "is reserved", "choose another name", value=name)
    for field in (*addresses, "mac", *(["host"] if isinstance(group, NodeGroup) else [])):
        pattern = getattr(group, field)
        if pattern is None:
            continue
        values = yield from _try_expand((*path, field), pattern)
        if values is None:
            continue
        if len(values) not in {1, len(names)}:
            rule = f"gives {len(values)} values for the {len(names)} names of `{group.name}`"
            yield Finding((*path, field), rule, "make both ranges equally long")
        elif len(values) == 1 and len(names) > 1 and field != "host":
            rule = f"is only one {_NOUN.get(field, 'address')} for the {len(names)} names of `{group.name}`"
            yield Finding((*path, field), rule, "write a range, as in `[1-3]`")
        elif bad := next((value for value in values if not _is_valid(field, value)), None):
            example = {"mac": "02:00:00:00:00:01", "host": "pve-1"}.get(field, "10.21.0.35")
            yield Finding(
                (*path, field),
                f"is not a valid {_NOUN.get(field, 'address')}",
                f"write it as in `{example}`",
                value=bad,
            )


_NOUN = {"mac": "MAC address", "host": "host name"}


def _is_valid(field: str, value: str) -> bool:
    if field == "mac":
        return MAC_ADDRESS.matches(value)
    if field == "host":
        return DNS_LABEL.matches(value)
    try:
        IPv4Address(value)
    except ValueError:
        return False
    return True


def _try_expand(path: FieldPath, pattern: str) -> Generator[Finding, None, list[str] | None]:
    try:
        return expand_range(pattern)
    except InvalidValueError as error:
        yield Finding(path, error.rule, error.remedy)
        return None


def check_references(site: Site) -> Iterator[Finding]:
    """The shapes, hosts and cards that nodes refer to exist; needs valid patterns."""
    hosts = {name: group for group in site.hosts for name in expand_range(group.name)}
    for index, group in enumerate(site.nodes):
        path: FieldPath = ("nodes", index)
        if group.shape not in site.shapes:
            yield Finding((*path, "shape"), "is not one of the shapes", suggest_name(group.shape, site.shapes))
        for name in expand_range(group.host):
            if name not in hosts:
                yield Finding((*path, "host"), "is not one of the hosts", suggest_name(name, hosts), value=name)
                break
            yield from _check_card_indexes(path, "gpus", "GPU", group.gpus, (name, len(hosts[name].gpus)))
            yield from _check_card_indexes(path, "devices", "device", group.devices, (name, len(hosts[name].devices)))


def _check_card_indexes(
    path: FieldPath, field: str, what: str, chosen: tuple[int, ...] | None, host: tuple[str, int]
) -> Iterator[Finding]:
    name, present = host
    for place, index in enumerate(chosen or ()):
        if not 0 <= index < present:
            span = "0" if present == 1 else f"from 0 to {present - 1}"
            remedy = f"choose {span}" if present else f"add `{field}` to the host"
            yield Finding((*path, field, place), f"does not exist: {name} has {present} {what}(s)", remedy)


def check_node_addresses(site: Site) -> Iterator[Finding]:
    """Every machine's address lies in the site's network, from which its VMID is derived."""
    for index, group in enumerate(site.nodes):
        names, addresses = expand_range(group.name), expand_range(group.address)
        for name, text in zip(names, addresses, strict=True):
            if IPv4Address(text) not in site.network.cidr:
                rule = f"of {name} is outside network.cidr {site.network.cidr}"
                yield Finding(("nodes", index, "address"), rule, "choose an address within it", value=text)
                break
