"""GPUs and other passed-through cards: each belongs to one virtual machine at a time."""

from collections.abc import Iterator

from config.finding import FieldPath, Finding
from config.gpus import Gpu, Sharing
from config.hosts import Device, Node, Role, Shift
from config.site import Site


def check_pci_slots(site: Site) -> Iterator[Finding]:
    """Within a host every card has a unique PCI address and is alone in its IOMMU group."""
    for index, host in enumerate(site.hosts):
        places: dict[str, str] = {}
        groups: dict[int, str] = {}
        cards: list[tuple[str, int, Gpu | Device]] = [
            *(("gpus", place, gpu) for place, gpu in enumerate(host.gpus)),
            *(("devices", place, device) for place, device in enumerate(host.devices)),
        ]
        for field, place, card in cards:
            path: FieldPath = ("hosts", index, field, place)
            mine = f"{field}[{place}]"
            other = places.setdefault(card.pci, mine)
            if other != mine:
                yield Finding(
                    (*path, "pci"), f"is also the PCI address of {other}", "run `lspci -D` on the host", value=card.pci
                )
            elif (first := groups.setdefault(card.iommu_group, mine)) != mine:
                remedy = "a group can only be passed through together: use another slot, or enable ACS in the BIOS"
                yield Finding((*path, "iommu-group"), f"also contains {first}", remedy)


def check_card_owners(site: Site) -> Iterator[Finding]:
    """A card belongs to one machine, or to two with opposite shifts."""
    taken: dict[tuple[str, str], list[Node]] = {}
    for index, node in site.nodes_by_group:
        for field, cards in (("gpus", node.gpus), ("devices", node.devices)):
            for card in cards:
                others = taken.setdefault((node.host, card.pci), [])
                if other := next((one for one in others if not run_alternately(one, node)), None):
                    rule = f"of {node.host} is assigned to both {other.name} and {node.name}"
                    remedy = f"a card belongs to one machine: list other cards in `{field}`, or use opposite shifts"
                    yield Finding(("nodes", index, field), rule, remedy, value=card.pci)
                others.append(node)


def run_alternately(one: Node, two: Node) -> bool:
    """Whether two machines never run at the same time."""
    return {one.shift, two.shift} == {Shift.OWNERS, Shift.CLUSTER}


def check_card_holders(site: Site) -> Iterator[Finding]:
    """Only workers and desktops have GPUs, and all GPUs of a machine are of one model."""
    for index, group in enumerate(site.nodes):
        if group.role not in {Role.WORKER, Role.DESKTOP} and group.gpus:
            rule = f"assigns GPUs to a machine with role {group.role}"
            yield Finding(("nodes", index, "gpus"), rule, "assign them to a worker or a desktop", value=None)
    for index, node in site.nodes_by_group:
        if problem := _mixed_cards(node.gpus):
            yield Finding(("nodes", index, "gpus"), f"{problem[0]} on {node.name}", problem[1], value=None)


def _mixed_cards(gpus: tuple[Gpu, ...]) -> tuple[str, str] | None:
    models = sorted({gpu.model for gpu in gpus})
    if len(models) > 1:
        return f"mixes {' and '.join(models)}", "labels and quotas name one model for each machine: split it in two"
    ways = {gpu.sharing for gpu in gpus}
    if len(ways) > 1 and ways != {Sharing.EXCLUSIVE, Sharing.MIG}:
        return (
            f"mixes {' and '.join(sorted(ways))}",
            "the device plugin shares all GPUs of a node in one way: choose one",
        )
    replicas = sorted({gpu.replicas for gpu in gpus if gpu.replicas})
    if len(replicas) > 1:
        return (
            f"mixes {' and '.join(map(str, replicas))} replicas",
            "the device plugin uses one number for each node: choose one",
        )
    return None
