"""Base class of all settings, and the types of their values."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Any

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

FROM_FILE = "file"
"""Validation context of a file, where a size has a unit; in code a size is a number of MiB."""
MAX_RANGE = 1000
"""Longest range in a pattern; a longer one is a typing error."""
MIB_PER_GIB = 1024
MIB = 1024 * 1024
"""Bytes in a MiB; Proxmox, K3s and etcd report bytes."""
_UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SIZE = re.compile(r"(\d+)\s*(MiB|GiB|TiB)")
_RANGE = re.compile(r"\[(\d{1,9})-(\d{1,9})\]")
_RANGE_REMEDY = "write `name-[01-40]`"


def _kebab_case(name: str) -> str:
    return name.replace("_", "-")


class InvalidValueError(ValueError):
    """A value that a setting cannot have.

    Attributes:
        rule: What is wrong, as a predicate of the value: `is not a valid domain`.
        remedy: What to do.
    """

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule, self.remedy = rule, remedy


class Model(BaseModel):
    """Base of all settings: unknown keys are errors, values do not appear in pydantic's errors, instances are frozen."""

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
    """Parses `64 GiB` into MiB; a number without a unit is refused in a file."""
    if isinstance(value, int) and not isinstance(value, bool) and info.context != FROM_FILE:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _UNITS_MIB[match[2]]
    raise InvalidValueError("is not a valid size", "write a whole number with MiB, GiB or TiB, as in `64 GiB`")


def format_size(mib: int) -> str:
    """Formats a size in the largest unit that needs no fraction: 65536 -> `64 GiB`."""
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
"""A size: `64 GiB` in a file, a number of MiB in code."""


def _parse_cidr(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        interface = IPv4Interface(value)
    except ValueError:
        raise InvalidValueError("is not a valid IPv4 network", "write it as in `10.21.0.0/16`") from None
    if interface.ip != interface.network.network_address:
        raise InvalidValueError("has host bits set", f"did you mean {interface.network}?")
    return interface.network


Cidr = Annotated[IPv4Network, BeforeValidator(_parse_cidr, json_schema_input_type=str)]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Form of a text: a regular expression, and the words for a text that does not match it.

    Attributes:
        regex: The whole text must match it; JSON Schema shows it as `pattern`.
        rule: What is wrong with a text that does not match.
        remedy: How to write it.
    """

    regex: str
    rule: str
    remedy: str

    def matches(self, text: str) -> bool:
        """Whether a text has this form."""
        return re.fullmatch(self.regex, text) is not None

    def _require_match(self, text: str) -> str:
        if not self.matches(text):
            raise InvalidValueError(self.rule, self.remedy)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._require_match, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.regex}


DNS_LABEL = Pattern(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "is not a valid name",
    "use a-z, 0-9 and -, at most 63 characters, with a letter or digit at both ends",
)
DnsLabel = Annotated[str, DNS_LABEL]
"""One label of a host name (RFC 1123)."""
Domain = Annotated[
    str,
    Pattern(
        r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$",
        "is not a valid domain",
        "write it in lower case, as in `lab.campus.example`",
    ),
]
MAC_ADDRESS = Pattern(
    r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$", "is not a valid MAC address", "write it as in `02:00:00:00:00:01`"
)
Mac = Annotated[str, AfterValidator(str.lower), MAC_ADDRESS]
PciAddress = Annotated[
    str,
    Pattern(
        r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$",
        "is not a valid PCI address",
        'write it as `lspci -D` prints it, in quotes: `"0000:41:00.0"`',
    ),
]
"""Domain, bus, device and function, as `lspci -D` prints them: `0000:41:00.0`."""
PciId = Annotated[
    str,
    Pattern(
        r"^[0-9a-f]{4}:[0-9a-f]{4}$",
        "is not a valid PCI ID",
        'write it as `lspci -n` prints it, in quotes: `"10de:20f1"`',
    ),
]
"""Vendor and device, as `lspci -n` prints them: `10de:20f1`."""
VmId = Annotated[int, Field(ge=100, le=999_999_999)]
"""A Proxmox VMID; below 100 is reserved (pve-admin-guide, `qm`)."""
Hostname = Annotated[
    str,
    Pattern(
        r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", "is not a valid host name", "write a name or an IP address"
    ),
]
"""A host name, qualified or not, or an address."""
NamePattern = Annotated[
    str,
    Pattern(
        r"^[a-z0-9\[\]-]+$", "is not a valid name or pattern", "use a-z, 0-9 and -, as in `gpu-1` or `gpu-[01-40]`"
    ),
]
"""A name, or a pattern with one range that stands for several names."""
Email = Annotated[
    str,
    Pattern(r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "is not a valid e-mail address", "write it as in `it@campus.example`"),
]
Duration = Annotated[
    str,
    Pattern(
        r"^[1-9]\d*[smhdwy]$", "is not a valid duration", "write a number with a unit, as in `30s`, `12h` or `15d`"
    ),
]
"""A whole number with a unit, as Prometheus writes it: `30s`, `15d`."""


def _require_run(schedule: str) -> str:
    """Refuses a schedule that no day of the calendar meets, as `0 0 31 4 *`; K3s takes it and never takes a snapshot."""
    try:
        next(CronSim(schedule, _CALENDAR_START))
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "no such day"
        raise InvalidValueError(f"never comes: {reason[0].lower()}{reason[1:]}", "correct that field") from None
    return schedule


_CALENDAR_START = datetime(2026, 1, 1)  # noqa: DTZ001 - any day: whether there is a next run does not depend on it
Cron = Annotated[
    str,
    Pattern(r"^(\S+\s+){4}\S+$", "is not a valid schedule", "write five fields, as in `0 2 * * *`: every day at 02:00"),
    AfterValidator(_require_run),
]
"""Minute, hour, day of the month, month, day of the week."""
ImageReference = Annotated[
    str,
    Pattern(
        r"^[a-z0-9][a-z0-9./_:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$",
        "is not a valid image with a tag or digest",
        "write it as in `registry/name:1.2`",
    ),
]
"""A container image with its tag or digest."""
Sha256 = Annotated[str, Pattern(r"^[0-9a-f]{64}$", "is not a valid SHA-256 checksum", "it has 64 hex digits")]
Sha512 = Annotated[str, Pattern(r"^[0-9a-f]{128}$", "is not a valid SHA-512 checksum", "it has 128 hex digits")]


def _parse_address_range(value: object) -> object:
    if not isinstance(value, str):
        return value
    first, _, last = value.partition("-")
    try:
        low, high = IPv4Address(first.strip()), IPv4Address((last or first).strip())
    except ValueError:
        raise InvalidValueError(
            "is not a valid address or address range", "write `10.0.0.50` or `10.0.0.50-10.0.0.60`"
        ) from None
    if high < low:
        raise InvalidValueError("ends before it starts", f"did you mean {high}-{low}?")
    return {"first": low, "last": high}


class AddressRange(BaseModel):
    """Addresses from first to last, both included: `10.21.0.50-10.21.0.60` in a file, or one address."""

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
    """Expands the range in a pattern: `ws-[01-40]` gives ws-01 to ws-40, with leading zeros; without a range, the text itself.

    Raises:
        InvalidValueError: the range is reversed or too long, or there are several.
    """
    found = list(_RANGE.finditer(pattern))
    if not found:
        return [pattern]
    if len(found) > 1:
        raise InvalidValueError("has more than one [first-last] range", _RANGE_REMEDY)
    low, high = found[0].groups()
    if int(high) < int(low):
        raise InvalidValueError(f"counts backwards: {high} comes before {low}", _RANGE_REMEDY)
    if int(high) - int(low) >= MAX_RANGE:
        raise InvalidValueError(f"stands for more than {MAX_RANGE} names", _RANGE_REMEDY)
    width = len(low) if low.startswith("0") else 0
    head, tail = pattern[: found[0].start()], pattern[found[0].end() :]
    return [f"{head}{n:0{width}d}{tail}" for n in range(int(low), int(high) + 1)]


def broadcast(pattern: str | None, count: int, what: str) -> list[Any]:
    """Expands a pattern to `count` values; a value without a range is repeated.

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
