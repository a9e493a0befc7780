"""Translates pydantic's errors into findings with a remedy."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from pydantic_core import ErrorDetails

from config.base import InvalidValueError
from config.finding import FieldPath, Finding, closest_name, suggest_name
from config.introspection import field_at, fields_by_alias, model_at
from config.site import Site

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
"""Names that other tools use -> our settings for the same thing."""

_TYPES: dict[str, tuple[str, str]] = {
    "int_type": ("is not a whole number", "write digits only"),
    "int_parsing": ("is not a whole number", "write digits only"),
    "int_from_float": ("is not a whole number", "write digits only"),
    "int_parsing_size": ("is too large", "write a smaller one"),
    "bool_type": ("is not true or false", "write `true` or `false`"),
    "bool_parsing": ("is not true or false", "write `true` or `false`"),
    "string_type": ("is not text", "write it in quotes"),
    "tuple_type": ("is not a list", "write `[one, two]`, or each item on a line after `-`"),
    "dict_type": ("is not a mapping", "write `key: value`"),
    "model_type": ("is not a group of settings", "write `key: value` below it"),
    "model_attributes_type": ("is not a group of settings", "write `key: value` below it"),
    "ip_v4_address": ("is not a valid IPv4 address", "write it as in `10.21.0.35`"),
    "ip_v4_network": ("is not a valid IPv4 network", "write it as in `10.21.0.0/16`"),
    "url_type": ("is not a valid URL", "write it as in `https://pve1.campus.example:8006/`"),
    "url_parsing": ("is not a valid URL", "write it as in `https://pve1.campus.example:8006/`"),
    "url_scheme": ("is not a URL with http:// or https://", "write it as in `https://pve1.campus.example:8006/`"),
    "url_too_long": ("is too long for a URL", "write it as in `https://pve1.campus.example:8006/`"),
    "path_type": ("is not a path", "write a file name"),
    "date_type": ("is not a valid date", "write it as in `2027-02-28`"),
    "date_parsing": ("is not a valid date", "write it as in `2027-02-28`"),
    "date_from_datetime_parsing": ("is not a valid date", "write it as in `2027-02-28`"),
    "date_from_datetime_inexact": ("is a date with a time", "write it as in `2027-02-28`"),
    "string_too_short": ("is empty", "write a value, or remove the line"),
    "too_short": ("is empty", "list at least one"),
}


def translate_errors(errors: Iterable[ErrorDetails], value_at: Callable[[FieldPath], object]) -> list[Finding]:
    """Translates the errors of one validation; an error that only follows from another one is left out."""
    found, suggested = [], set()
    for error in errors:
        path = tuple(part for part in error["loc"] if part != "[key]")
        value = value_at(path)
        if error["type"] == "too_short" and value:
            continue  # pydantic counts only the valid items of a list
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
        return Finding(path, "is not a setting here", remedy, value=None)
    return Finding(path, *_rule_and_remedy(kind, context, error["msg"], value))


def _rule_and_remedy(kind: str, context: dict[str, Any], message: str, value: object) -> tuple[str, str]:
    if value is None and kind.endswith(("_type", "_parsing")):
        return "is empty", "write a value, or remove the line"
    if kind in {"enum", "literal_error"}:
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"is not one of {', '.join(words)}", suggest_name(str(value), words)
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        (word, limit), *_ = context.items()
        meaning = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}[word]
        return f"must be {meaning} {limit}", "correct the number"
    if kind == "value_error":
        cause = context["error"]
        if isinstance(cause, InvalidValueError):
            return cause.rule, cause.remedy
        return f"is not valid: {_as_clause(str(cause))}", "correct it"
    return _TYPES.get(kind, (f"is not valid: {_as_clause(message)}", "correct it"))


def _as_clause(text: str) -> str:
    """A sentence as part of another one: on one line, first letter in lower case (not of `GPU`), no full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
