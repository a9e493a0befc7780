"""What every component promises: a token that never changes, children under it, and a description of both."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

import pytest

from components.base import Component
from components.layer import Layer
from config.paths import PROJECT

LAYERS = ("hosts", "cluster", "platform", "workspaces", "tenants")
BASES = {Component, Layer}
"""Classes that others build on; they have no token of their own."""


def modules() -> Iterator[ModuleType]:
    for path in sorted((PROJECT / "components").rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        yield importlib.import_module(".".join(part for part in parts if part != "__init__"))


def classes() -> Iterator[type]:
    for module in modules():
        for _, found in inspect.getmembers(module, inspect.isclass):
            if found.__module__ == module.__name__:
                yield found


COMPONENTS = [one for one in classes() if issubclass(one, Component) and one not in BASES]
HANDED = [one for one in classes() if dataclasses.is_dataclass(one)]
"""Dataclasses: the arguments of components, and what layers hand to each other."""

component = pytest.mark.parametrize("kind", COMPONENTS, ids=lambda kind: kind.__name__)


def constructor(kind: type) -> ast.FunctionDef:
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return next(one for one in definition.body if isinstance(one, ast.FunctionDef) and one.name == "__init__")


def test_there_are_components_to_hold_to_it() -> None:
    assert len(COMPONENTS) > 10


@component
def test_a_token_names_project_layer_and_noun(kind: type[Component]) -> None:
    layer = kind.__module__.split(".")[1]

    assert layer in LAYERS
    assert kind.__dict__.get("TOKEN") == f"lyceum:{layer}:{kind.__name__}", (
        "written out, so that moving it changes nothing"
    )


def test_no_two_components_share_a_token() -> None:
    shared = {token: times for token, times in Counter(one.TOKEN for one in COMPONENTS).items() if times > 1}

    assert shared == {}


@component
def test_a_component_says_what_it_creates(kind: type[Component]) -> None:
    assert re.search(r"^Creates: ", inspect.getdoc(kind) or "", re.MULTILINE), f"{kind.__name__} must list it"


@component
def test_a_component_ends_with_its_outputs(kind: type[Component]) -> None:
    """Everything before is a child, everything after would be missed by whoever waits for the component."""
    calls = [
        ast.unparse(one.func)
        for one in ast.walk(constructor(kind))
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "self.register_outputs"
    ]

    assert calls == ["self.register_outputs"], "once"
    assert ast.unparse(constructor(kind).body[-1]).startswith("self.register_outputs("), "as the last statement"


@component
def test_a_component_takes_its_options_last(kind: type[Component]) -> None:
    *_, last = inspect.signature(kind).parameters.values()

    assert (last.name, last.default) == ("opts", None)


@component
def test_every_output_of_a_component_is_described(kind: type[Component]) -> None:
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    pairs = zip(definition.body, [*definition.body[1:], None], strict=True)
    bare = [
        ast.unparse(one.target)
        for one, following in pairs
        if isinstance(one, ast.AnnAssign)
        and ast.unparse(one.target) != "TOKEN"
        and not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]

    assert bare == [], "a line of text below each attribute says what it is"


@pytest.mark.parametrize("kind", HANDED, ids=lambda kind: kind.__name__)
def test_every_field_that_is_handed_over_is_described(kind: type) -> None:
    text = inspect.getdoc(kind) or ""
    missing = [
        field.name for field in dataclasses.fields(kind) if not re.search(rf"^    {field.name}: \S", text, re.MULTILINE)
    ]

    assert missing == [], f"add them under `Attributes:` of {kind.__name__}"


@pytest.mark.parametrize("kind", HANDED, ids=lambda kind: kind.__name__)
def test_what_is_handed_over_cannot_be_changed(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # set by the decorator


def test_no_resource_is_declared_inside_apply() -> None:
    """It would be missing from every preview."""
    found = [
        f"{module.__name__}: {ast.unparse(inner)[:60]}"
        for module in modules()
        for call in ast.walk(ast.parse(inspect.getsource(module) or "pass"))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "apply"
        for inner in ast.walk(call)
        if isinstance(inner, ast.keyword) and inner.arg == "opts"
    ]

    assert found == []
