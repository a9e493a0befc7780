"""Looks up settings of a model by their path."""

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import PlainSerializer
from pydantic.fields import FieldInfo

from config.base import Model, format_size
from config.finding import FieldPath


def fields_by_alias(model: type[Model]) -> Mapping[str, FieldInfo]:
    """Settings of a model by their name in a file."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def unwrap_annotation(annotation: Any) -> Any:
    """An annotation without `Annotated` and without `None`."""
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation = arguments[0]
        elif origin in {Union, types.UnionType}:
            annotation = next(argument for argument in arguments if argument is not type(None))
        else:
            return annotation


def model_at(root: type[Model], place: FieldPath) -> type[Model] | None:
    """The model whose settings are below a path, or None."""
    annotation: Any = root
    for key in place:
        annotation = unwrap_annotation(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Model):
            info = fields_by_alias(annotation).get(str(key))
            if info is None:
                return None
            annotation = info.annotation
        elif get_origin(annotation) in {tuple, list, dict}:
            annotation = get_args(annotation)[1 if get_origin(annotation) is dict else 0]
        else:
            return None
    annotation = unwrap_annotation(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Model) else None


def field_at(root: type[Model], place: FieldPath) -> FieldInfo | None:
    """The setting at a path, or None."""
    while place and isinstance(place[-1], int):
        place = place[:-1]
    above = model_at(root, place[:-1]) if place else None
    return fields_by_alias(above).get(str(place[-1])) if above else None


def is_size(metadata: Iterable[object]) -> bool:
    """Whether these annotations are those of a size (`64 GiB`)."""
    return any(isinstance(item, PlainSerializer) and item.func is format_size for item in metadata)


def holds_size(info: FieldInfo) -> bool:
    """Whether a setting, optional or not, is a size."""
    parts = get_args(info.annotation) if get_origin(info.annotation) in {Union, types.UnionType} else ()
    return is_size(info.metadata) or any(is_size(get_args(part)[1:]) for part in parts if get_origin(part) is Annotated)
