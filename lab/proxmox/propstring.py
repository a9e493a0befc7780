"""Property strings (`local-lvm:32,iothread=1`), lists and sizes as Proxmox VE writes them. Pure functions."""

import re
from collections.abc import Mapping

MIB = 1 << 20
GIB = 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": MIB, "G": GIB, "T": 1 << 40}


def parse(text: str, default_key: str = "file") -> tuple[str, dict[str, str]]:
    """Split `<value>,key=value,...` into its leading value (empty when absent) and its options, in their order.

    The value may also be written `<default_key>=<value>`.
    """
    value = ""
    options: dict[str, str] = {}
    for part in text.split(","):
        key, equals, rest = part.partition("=")
        if not equals:
            value = value or key
        elif key == default_key:
            value = rest
        else:
            options[key] = rest
    return value, options


def join(value: str, options: Mapping[str, str]) -> str:
    """The opposite of `parse`; options come sorted, as Proxmox VE stores them."""
    parts = [f"{key}={options[key]}" for key in sorted(options)]
    return ",".join([value, *parts] if value else parts)


def split_list(text: str) -> list[str]:
    """Split a list that uses commas, semicolons or blanks."""
    return [item for item in re.split(r"[,; ]+", text) if item]


def parse_size(text: str) -> int:
    """Bytes of `32G`, `4M`, `512`; raises `ValueError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not match:
        raise ValueError(f"'{text}' is not a size; write digits and K, M, G or T")
    return int(float(match[1]) * _UNITS[match[2]])


def render_size(size: int) -> str:
    """The shortest exact spelling: `32G`, `528K`, `1025`."""
    for unit in ("T", "G", "M", "K"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
