"""Turns pydantic's errors into sentences that a person can act on."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from pydantic_core import ErrorDetails

from config.finding import FieldPath, Finding, closest_name, suggest_name
from config.introspection import field_at, fields_by_alias, model_at
from config.rules.references import NAME_REMEDY
from config.site import Site

PATTERNS: dict[str, tuple[str, str]] = {
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": ("is no name", NAME_REMEDY),
    r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$": (
        "is no domain",
        "write it in small letters, as in `lab.campus.example`",
    ),
    r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$": ("is no MAC address", "write it as in `02:00:00:00:00:01`"),
    r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$": (
        "is no PCI address",
        'write it as `lspci -D` does, in quotes: `"0000:41:00.0"`',
    ),
    r"^[0-9a-f]{4}:[0-9a-f]{4}$": ("is no PCI id", 'write it as `lspci -n` does, in quotes: `"10de:20f1"`'),
    r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$": ("is no host name", "write a name or an address"),
    r"^[^@\s]+@[^@\s]+\.[^@\s]+$": ("is no e-mail address", "write it as in `it@campus.example`"),
    r"^[1-9]\d*[smhdwy]$": ("is no duration", "write a number with a unit, as in `30s`, `12h` or `15d`"),
    r"^(\S+\s+){4}\S+$": ("is no schedule", "write five fields, as in `0 2 * * *`: every day at two"),
    r"^[a-z0-9][a-z0-9./_:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$": (
        "is no image with a tag or digest",
        "write it as in `registry/name:1.2`",
    ),
    r"^[a-z0-9\[\]-]+$": ("is no name or pattern", "use a-z, 0-9 and -, as in `gpu-1` or `gpu-[01-40]`"),
    r"^[0-9a-f]{128}$": ("is no SHA-512", "it has 128 hex digits"),
    r"^[0-9a-f]{64}$": ("is no SHA-256", "it has 64 hex digits"),
    r"^[A-Za-z0-9._-]+\.(qcow2|raw|vmdk)$": ("is no image file name", "end it in .qcow2, .raw or .vmdk"),
    r"^v\d+\.\d+\.\d+\+k3s\d+$": ("is no K3s release", "write it as in `v1.36.4+k3s1`"),
    r"^v\d+\.\d+\.\d+$": ("is no version", "write it as in `v1.2.3`"),
    r"^\d+\.\d+(\.\d+)?$": ("is no driver version", "write it as in `595.91.07`, in quotes"),
    r"^/\S*$": ("is no path", "start it with /"),
    r"^#\S+$": ("is no Slack channel", 'write it in quotes, as in `"#cluster"`'),
    r"^[A-Za-z0-9.-]+:\d{1,5}$": ("is no server with a port", "write it as in `smtp.campus.example:587`"),
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": ("is no bucket name", "use a-z, 0-9, . and -, 3 to 63 characters"),
    r"^https://[a-z0-9.-]+(:\d{1,5})?$": (
        "is no address of a store",
        "write https:// and a host, as in `https://s3.campus.example`; the bucket has a setting of its own",
    ),
    r"^(https://|ssh://|git@)\S+$": ("is no Git repository", "start it with https://, ssh:// or git@"),
    r"^[a-z0-9.-]+/[a-z0-9_-]+$": ("is no resource name", "write it as in `rdma/shared`"),
    r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$": ("is no time of day", "write it as in `08:00`, in quotes"),
    r"^(upstream|https://\S+|oci://\S+)$": (
        "is no source of charts",
        "write `upstream`, or a URL with https:// or oci://",
    ),
    (
        r"^[A-Za-z0-9]([A-Za-z0-9./_-]{0,251}[A-Za-z0-9])?(=[A-Za-z0-9._-]{0,63})?"
        r":(NoSchedule|PreferNoSchedule|NoExecute)$"
    ): ("is no taint", "write it as in `nvidia.com/gpu=true:NoSchedule`"),
}
"""What a pattern means to people; a test holds that every pattern of the model is here."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "cpus": ("cores",),
    "cpu": ("cores", "cpus"),
    "cores": ("cpus",),
    "vcpus": ("cores", "cpus"),
    "vcpu": ("cores", "cpus"),
    "threads": ("cpus", "cores"),
    "ram": ("memory",),
    "ip": ("address", "api-address"),
    "vip": ("api-address",),
    "subnet": ("cidr",),
    "vmid": ("vm-id",),
    "url": ("endpoint", "issuer"),
    "netmask": ("cidr",),
    "nameservers": ("dns",),
    "timezone": ("time-zone",),
}
"""Words that people use elsewhere for what is called otherwise here."""

_TYPES: dict[str, tuple[str, str]] = {
    "int_type": ("is no whole number", "write digits only"),
    "int_parsing": ("is no whole number", "write digits only"),
    "int_from_float": ("is no whole number", "write digits only"),
    "int_parsing_size": ("is too large a number", "write a smaller one"),
    "bool_type": ("is neither true nor false", "write `true` or `false`"),
    "bool_parsing": ("is neither true nor false", "write `true` or `false`"),
    "string_type": ("is no text", "write it in quotes"),
    "tuple_type": ("is no list", "write `[one, two]`, or one item a line after `-`"),
    "dict_type": ("is no mapping", "write `key: value`"),
    "model_type": ("is no group of settings", "write `key: value` below it"),
    "model_attributes_type": ("is no group of settings", "write `key: value` below it"),
    "ip_v4_address": ("is no IPv4 address", "write it as in `10.21.0.35`"),
    "ip_v4_network": ("is not an IPv4 network", "write it as in `10.21.0.0/16`"),
    "url_type": ("is no URL", "write it as in `https://pve1.campus.example:8006/`"),
    "url_parsing": ("is no URL", "write it as in `https://pve1.campus.example:8006/`"),
    "url_scheme": ("is no URL with http:// or https://", "write it as in `https://pve1.campus.example:8006/`"),
    "url_too_long": ("is too long a URL", "write it as in `https://pve1.campus.example:8006/`"),
    "path_type": ("is no path", "write a file name"),
    "date_type": ("is no date", "write it as in `2027-02-28`"),
    "date_parsing": ("is no date", "write it as in `2027-02-28`"),
    "date_from_datetime_parsing": ("is no date", "write it as in `2027-02-28`"),
    "date_from_datetime_inexact": ("is no date but a moment", "write it as in `2027-02-28`"),
    "string_too_short": ("is empty", "write it, or remove the line"),
    "too_short": ("is empty", "list at least one"),
}


def translate_errors(errors: Iterable[ErrorDetails], value_at: Callable[[FieldPath], object]) -> list[Finding]:
    """Puts the errors of one validation into words; what only follows from another error is not told."""
    found, suggested = [], set()
    for error in errors:
        path = tuple(part for part in error["loc"] if part != "[key]")
        value = value_at(path)
        if error["type"] == "too_short" and value:
            continue  # pydantic counts only the sound items of a list
        if error["type"] == "extra_forbidden" and (closest := _closest_setting(path)):
            suggested.add((*path[:-1], closest))
        found.append((error["type"], _translate_error(error, path, value)))
    return [finding for kind, finding in found if kind != "missing" or finding.subject not in suggested]


def _known_settings(path: FieldPath) -> Collection[str]:
    """Names of the settings that may stand beside one."""
    model = model_at(Site, path[:-1])
    return fields_by_alias(model) if model else ()


def _closest_setting(path: FieldPath) -> str | None:
    """The setting that is probably meant by an unknown one: another word for it, or another spelling."""
    key, known = str(path[-1]), _known_settings(path)
    return next((word for word in SYNONYMS.get(key, ()) if word in known), None) or closest_name(key, known)


def _translate_error(error: ErrorDetails, path: FieldPath, value: object) -> Finding:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        about = field_at(Site, path)
        remedy = f"add it: {_as_clause(about.description)}" if about and about.description else "add it"
        return Finding(path, "is missing", remedy, value=None)
    if kind == "extra_forbidden":
        closest = _closest_setting(path)
        remedy = f"did you mean `{closest}`?" if closest else suggest_name(str(path[-1]), _known_settings(path))
        return Finding(path, "is no setting here", remedy, value=None)
    return Finding(path, *_rule_and_remedy(kind, context, error["msg"], value))


def _rule_and_remedy(kind: str, context: dict[str, Any], message: str, value: object) -> tuple[str, str]:
    if value is None and kind.endswith(("_type", "_parsing")):
        return "is empty", "write a value, or remove the line"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(
            context["pattern"], ("is not written as it should be", f"it must match {context['pattern']}")
        )
    if kind in {"enum", "literal_error"}:
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"is none of {', '.join(words)}", suggest_name(str(value), words)
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        (word, limit), *_ = context.items()
        meaning = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}[word]
        return f"must be {meaning} {limit}", "correct the number"
    if kind == "value_error":
        rule, _, remedy = message.removeprefix("Value error, ").partition("; ")
        return rule, remedy or "correct it"
    return _TYPES.get(kind, (f"is not right: {_as_clause(message)}", "correct it"))


def _as_clause(text: str) -> str:
    """First letter small, full stop gone, one line: a sentence becomes part of another."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]
