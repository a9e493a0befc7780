"""Renders site files, and merges discovered hardware into an edited one, whose comments stay."""

import io
import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from config.base import expand_range
from config.scaffold import DiscoveredHost, gpu_entry, host_entries

HEAD = """# yaml-language-server: $schema=site.schema.json
# {title}. Written by `./lyceum init`; edit it as you like. All settings: docs/reference/site.md
"""
COMMENTS = {
    "network": "The addresses are ones that nothing in Proxmox uses; ask the IT department whether anything else does.",
    "shapes": "Sizes of the virtual machines: servers are small, workers get the rest of their host.",
    "hosts": "As Proxmox reports them. Run `./lyceum init` again after hardware changes: it updates only this part.",
    "nodes": "The virtual machines. A name is an identity: never reuse it for another machine.",
    "workspaces": "Who may log in to JupyterHub, and who sees GPUs.",
}
_ONE_LINE = 120
_SEXAGESIMAL = re.compile(r"[0-9]+:")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def render_site(site: dict[str, Any]) -> str:
    """Renders a new file: one section after the other, short values on one line, with comments."""
    document = CommentedMap()
    for key, value in site.items():
        document[key] = _apply_style(value)
        if isinstance(value, dict | list):
            document.yaml_set_comment_before_after_key(key, before="\n" + COMMENTS.get(key, ""))
    stream = io.StringIO()
    _yaml().dump(document, stream)
    lines = [line for line in stream.getvalue().splitlines() if line.strip() != "#"]
    return HEAD.format(title=site["title"]) + "\n".join(lines) + "\n"


def _apply_style(value: Any) -> Any:
    """A copy in which everything that fits on one line is written on one."""
    if isinstance(value, dict):
        found = CommentedMap((key, _apply_style(item)) for key, item in value.items())
        if _fits_one_line(value) and len(str(value)) < _ONE_LINE and value:
            found.fa.set_flow_style()
        return found
    if isinstance(value, list):
        items = CommentedSeq(_apply_style(item) for item in value)
        if not any(isinstance(item, dict) for item in value):
            items.fa.set_flow_style()
        return items
    # YAML 1.1 parsers read 0000:01:00.0 and 1043:8890 as sexagesimal numbers.
    return DoubleQuotedScalarString(value) if isinstance(value, str) and _SEXAGESIMAL.match(value) else value


def _fits_one_line(value: dict[str, Any]) -> bool:
    return len(value) > 1 and not any(isinstance(item, dict) or _is_list_of_mappings(item) for item in value.values())


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def merge_hosts(text: str, hosts: Sequence[DiscoveredHost]) -> tuple[str, list[str]]:
    """Updates the hosts of an existing file; everything else, including comments, stays as it is.

    Returns:
        The new text, and a sentence for each change and each difference that needs a person. No host is removed.
    """
    yaml = _yaml()
    document = yaml.load(text)
    found = {host.name: host for host in hosts}
    changes: list[str] = []
    known: set[str] = set()
    for entry in document.get("hosts") or ():
        names = expand_range(str(entry["name"]))
        known |= set(names)
        there = [found[name] for name in names if name in found]
        changes += [f"{name} is in the file, but not in Proxmox" for name in names if name not in found]
        if there:
            changes += _correct_host(entry, there)
    new = [host for host in hosts if host.name not in known]
    for item in host_entries(new):
        document["hosts"].append(_apply_style(item))
        changes.append(f"added {item['name']}")
    if not changes:
        return text, []
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue(), changes


def _correct_host(entry: CommentedMap, hosts: Sequence[DiscoveredHost]) -> list[str]:
    wanted = [
        {key: value for key, value in item.items() if key not in {"name", "address"}}
        for item in map(_host_entry, hosts)
    ]
    if any(item != wanted[0] for item in wanted):
        return [f"the machines of {entry['name']} are no longer alike: list them separately; nothing was changed there"]
    changes = []
    for key in ("cpus", "memory", "disk"):
        if entry.get(key) != wanted[0][key]:
            changes.append(f"{entry['name']}: {key} {entry.get(key)} -> {wanted[0][key]}")
            entry[key] = wanted[0][key]
    return changes + _correct_gpus(entry, hosts[0])


def _host_entry(host: DiscoveredHost) -> dict[str, Any]:
    return host_entries([host])[0]


def _correct_gpus(entry: CommentedMap, host: DiscoveredHost) -> list[str]:
    """Updates only the hardware properties of the GPUs; how they are shared stays."""
    changes = []
    there = {gpu.pci: gpu_entry(gpu) for gpu in host.gpus if gpu.model and gpu.iommu_group >= 0}
    cards = entry.get("gpus") or []
    for card in cards:
        now = there.pop(card["pci"], None)
        if now is None:
            changes.append(
                f"{entry['name']}: there is no GPU at {card['pci']} now; remove it from the file if that is intended"
            )
            continue
        for key, value in now.items():
            if card.get(key, value) != value:
                changes.append(f"{entry['name']}: {key} of {card['pci']} {card[key]} -> {value}")
                card[key] = _apply_style(value)
    for pci, card in there.items():
        changes.append(f"{entry['name']}: added the {card['model']} at {pci}")
        if "gpus" not in entry:
            entry["gpus"] = CommentedSeq()
        entry["gpus"].append(_apply_style(card))
    return changes
