"""The reference page of all settings, generated from the docstrings of the models."""

import types
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import HttpUrl
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config.base import AddressRange, Model, format_size
from config.gpus import CARDS
from config.introspection import fields_by_alias, is_size, unwrap_annotation
from config.planned import PLANNED
from config.required_secrets import BY_SETTING, EVERY_SITE
from config.site import STAGES, Site

HEAD = """# Settings of a site

Generated from the model by `python -m config.schema`; a test keeps it current. A site is one file,
`config/sites/<name>.yaml`. `./lyceum validate <name>` reports every mistake in it, `./lyceum show <name>` prints
the effective values and where each comes from.

Sizes are whole numbers with a unit: `64 GiB`. A name, host, address or MAC address may contain one range: `gpu-[01-40]`.
**Planned** settings are accepted and validated, but have no effect yet.
"""
_WORDS = {int: "number", str: "text", bool: "true or false", IPv4Address: "address", IPv4Network: "network"}


def render_reference() -> str:
    """The page, in Markdown."""
    parts = [HEAD, _render_section("", Site)]
    for place, model in _nested_models(Site, ""):
        parts.append(_render_section(place, model))
    parts += [_render_gpu_models(), _render_stages(), _render_secrets()]
    return "\n".join(parts)


def _nested_models(model: type[Model], place: str) -> list[tuple[str, type[Model]]]:
    found: list[tuple[str, type[Model]]] = []
    for name, info in fields_by_alias(model).items():
        inside, suffix = _nested_model(info.annotation)
        if inside:
            below = f"{place}.{name}{suffix}".removeprefix(".")
            found += [(below, inside), *_nested_models(inside, below)]
    return found


def _nested_model(annotation: Any) -> tuple[type[Model] | None, str]:
    """The model that a setting contains, and the suffix of its path: `[]` for a list, `.<name>` for a mapping."""
    annotation, suffix = unwrap_annotation(annotation), ""
    origin = get_origin(annotation)
    if origin in {tuple, list}:
        annotation, suffix = unwrap_annotation(get_args(annotation)[0]), "[]"
    elif origin is dict:
        annotation, suffix = unwrap_annotation(get_args(annotation)[1]), ".<name>"
    return (annotation if isinstance(annotation, type) and issubclass(annotation, Model) else None), suffix


def _render_section(place: str, model: type[Model]) -> str:
    lines = [
        f"## `{place}`" if place else "## The file",
        "",
        " ".join((model.__doc__ or "").split("\n\n")[0].split()),
        "",
    ]
    lines += ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for name, info in fields_by_alias(model).items():
        at = f"{place}.{name}".removeprefix(".")
        mark = " **Planned.**" if at in PLANNED else ""
        meaning = " ".join((info.description or "").split()) + mark
        cells = [f"`{name}`", _type_name(info.annotation, info), _default_text(info), meaning.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    if requirements := next(
        (PLANNED[path] for path in PLANNED if place == path or place.startswith((f"{path}.", f"{path}["))), ""
    ):
        lines += ["", f"**Planned** ({requirements})."]
    return "\n".join([*lines, ""])


def _type_name(annotation: Any, info: FieldInfo | None = None) -> str:
    if info and is_size(info.metadata):
        return "size"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "size" if is_size(arguments[1:]) else _type_name(arguments[0])
    if origin in {Union, types.UnionType}:
        return _type_name(next(item for item in arguments if item is not type(None)))
    if origin in {tuple, list}:
        return f"list of {_plural(_type_name(arguments[0]))}"
    if origin is dict:
        return f"mapping to {_type_name(arguments[1])}"
    if origin is Literal:
        return " or ".join(f"`{item}`" for item in arguments)
    if isinstance(annotation, type):
        return _class_name(annotation)
    return "value"


def _class_name(annotation: type) -> str:
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{item.value}`" for item in annotation)
    if issubclass(annotation, Model):
        return "settings"
    if issubclass(annotation, AddressRange):
        return "address range"
    if issubclass(annotation, HttpUrl):
        return "URL"
    if issubclass(annotation, Path):
        return "file"
    return _WORDS.get(annotation, annotation.__name__)


def _plural(word: str) -> str:
    return word if word in {"settings", "text"} or "`" in word else f"{word}es" if word.endswith("s") else f"{word}s"


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None or default is PydanticUndefined or default in ((), {}) or isinstance(default, Model):
        return ""
    if _type_name(info.annotation, info) == "size":
        return f"`{format_size(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item.name if hasattr(item, 'name') else item}`" for item in default)
    return f"`{default}`"


def _render_gpu_models() -> str:
    lines = ["## GPU models", "", "| model | memory | PCI id | MIG profiles |", "|---|---|---|---|"]
    for name, card in CARDS.items():
        lines.append(f"| `{name}` | {card.memory_gib} GiB | `{card.id}` | {', '.join(card.mig) or 'none'} |")
    return "\n".join([*lines, ""])


def _render_stages() -> str:
    lines = ["## Stages", "", "| stage | GPU workers in service |", "|---|---|"]
    lines += [f"| `{name}` | {count or 'all'} |" for name, count in STAGES.items()]
    return "\n".join([*lines, ""])


def _render_secrets() -> str:
    lines = ["## Secrets", "", "Never in this file. `./lyceum secrets` lists and sets them.", ""]
    lines += ["| secret | what it is | needed by |", "|---|---|---|"]
    for need in (*EVERY_SITE, *BY_SETTING):
        lines.append(f"| `{need.name}` | {need.what} | {f'`{need.needed_by}`' if need.needed_by else 'every site'} |")
    return "\n".join([*lines, ""])
