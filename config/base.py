"""What every part of the model is made of: one strict base class and the types people write."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo

FROM_FILE = "file"
"""Validation context of what people wrote, where sizes carry a unit; in code they are MiB."""
MAX_RANGE = 1000
"""Longest range that a pattern may have: beyond it is a typing error, not a campus."""
MIB_PER_GIB = 1024
MIB = 1024 * 1024
"""Bytes: what Proxmox, K3s and etcd count in."""
_UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SIZE = re.compile(r"(\d+)\s*(MiB|GiB|TiB)")
_RANGE = re.compile(r"\[(\d{1,9})-(\d{1,9})\]")


def _kebab_case(name: str) -> str:
    return name.replace("_", "-")


class Model(BaseModel):
    """Base of all settings: unknown keys are errors, values never appear in error texts, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=_kebab_case,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


class LayerSettings(Model):
    """Settings of a layer that can be switched off."""

    enabled: bool = True
    """Whether it is installed."""


def _parse_size(value: object, info: ValidationInfo) -> object:
    """Parses `64 GiB` into MiB; a bare number in a file is refused, because nobody can tell its unit."""
    if isinstance(value, int) and not isinstance(value, bool) and info.context != FROM_FILE:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _UNITS_MIB[match[2]]
    raise ValueError("is no size; write a whole number with MiB, GiB or TiB, as in `64 GiB`")


def format_size(mib: int) -> str:
    """Writes a size in the largest unit that keeps it whole: 65536 -> `64 GiB`."""
    for unit, factor in sorted(_UNITS_MIB.items(), key=lambda item: -item[1]):
        if mib % factor == 0:
            return f"{mib // factor} {unit}"
    raise AssertionError("every whole number is divisible by one MiB")


Size = Annotated[
    int,
    BeforeValidator(_parse_size, json_schema_input_type=str),
    Field(gt=0),
    PlainSerializer(format_size, return_type=str),
]
"""A size, written `64 GiB`, held in MiB."""


def _parse_cidr(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return IPv4Network(value)
    except ValueError as error:
        if "host bits set" in str(error):
            raise ValueError(f"has host bits set; did you mean {IPv4Network(value, strict=False)}?") from None
        raise ValueError("is not an IPv4 network; write it as in `10.21.0.0/16`") from None


Cidr = Annotated[IPv4Network, BeforeValidator(_parse_cidr, json_schema_input_type=str)]

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""One label of a host name (RFC 1123)."""
Domain = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$")]
Mac = Annotated[str, AfterValidator(str.lower), Field(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")]
PciAddress = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")]
"""Domain, bus, device and function, as `lspci -D` prints them: `0000:41:00.0`."""
PciId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
"""Vendor and device, as `lspci -n` prints them: `10de:20f1`."""
VmId = Annotated[int, Field(ge=100, le=999_999_999)]
"""A Proxmox VMID; below 100 is reserved (pve-admin-guide, `qm`)."""


Hostname = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
"""A host name, qualified or not, or an address."""
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Duration = Annotated[str, Field(pattern=r"^[1-9]\d*[smhdwy]$")]
"""A whole number with a unit, as Prometheus writes it: `30s`, `15d`."""
Cron = Annotated[str, Field(pattern=r"^(\S+\s+){4}\S+$")]
"""Minute, hour, day of the month, month, day of the week."""
ImageReference = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9./_:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$")
]
"""A container image with its tag or digest."""


def _parse_address_range(value: object) -> object:
    if not isinstance(value, str):
        return value
    first, _, last = value.partition("-")
    try:
        low, high = IPv4Address(first.strip()), IPv4Address((last or first).strip())
    except ValueError:
        raise ValueError("is neither an address nor a range; write `10.0.0.50` or `10.0.0.50-10.0.0.60`") from None
    if high < low:
        raise ValueError(f"ends before it starts; did you mean {high}-{low}?")
    return {"first": low, "last": high}


class AddressRange(BaseModel):
    """Addresses from first to last, both included; written `10.21.0.50-10.21.0.60` or as one address."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __iter__(self) -> Iterator[IPv4Address]:  # type: ignore[override]  # a range iterates over addresses, not fields
        return (IPv4Address(n) for n in range(int(self.first), int(self.last) + 1))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


Addresses = Annotated[
    AddressRange,
    BeforeValidator(_parse_address_range, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]


def expand_range(pattern: str) -> list[str]:
    """Expands at most one range of a pattern: `ws-[01-40]` gives ws-01 to ws-40, zeros kept; no range gives the text itself.

    Raises:
        ValueError: the range is reversed or too long, or there is more than one.
    """
    found = list(_RANGE.finditer(pattern))
    if not found:
        return [pattern]
    if len(found) > 1:
        raise ValueError(f"`{pattern}` has more than one [first-last] range")
    low, high = found[0].groups()
    if int(high) < int(low):
        raise ValueError(f"`{pattern}` counts backwards: {high} comes before {low}")
    if int(high) - int(low) >= MAX_RANGE:
        raise ValueError(f"`{pattern}` stands for more than {MAX_RANGE} names")
    width = len(low) if low.startswith("0") else 0
    head, tail = pattern[: found[0].start()], pattern[found[0].end() :]
    return [f"{head}{n:0{width}d}{tail}" for n in range(int(low), int(high) + 1)]


def broadcast(pattern: str | None, count: int, what: str) -> list[Any]:
    """Expands a pattern to `count` values; one value without a range is repeated.

    Raises:
        ValueError: the pattern gives a different number of values than `count`.
    """
    if pattern is None:
        return [None] * count
    values = expand_range(pattern)
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise ValueError(f"{what} `{pattern}` gives {len(values)} values for {count} names")
    return values
