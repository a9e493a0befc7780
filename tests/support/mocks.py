"""Runs a Pulumi program without an engine, and keeps what it registers.

A recording stand-in for the engine's resource monitor: unlike `pulumi.runtime.set_mocks` it keeps dependencies, resource
options and secret envelopes, gives every resource the URN that the real engine would give it, and returns only when
everything is registered. What it cannot show is what providers do: defaults, differences, replacements.
"""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import set_all_config
from pulumi.runtime.mocks import MockCallArgs, MockEngine, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import Settings, configure
from pulumi.runtime.stack import run_in_stack

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"
_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
"""How Pulumi's wire protocol marks a special value, and which special value is a secret (sdk/go/common/resource)."""

Answers = Callable[["Registered"], Mapping[str, str]]
"""Outputs that a provider would add to a resource's inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """One resource as the engine would see it.

    Attributes:
        urn: The URN that the real engine gives it.
        type: Type token.
        name: Logical name.
        parent: URN of its parent; empty only for the stack.
        inputs: Inputs with secrets opened and numbers that are whole as `int`.
        request: Everything else, as it was sent.
    """

    urn: str
    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    request: resource_pb2.RegisterResourceRequest

    @property
    def is_component(self) -> bool:
        """Whether it only holds other resources and is made in this process."""
        return not self.request.custom and not self.request.remote

    @property
    def is_provider(self) -> bool:
        return self.type.startswith(PROVIDER_PREFIX)

    @property
    def needs(self) -> set[str]:
        """URNs that must exist before it: its dependencies, its parent, and the provider that makes it."""
        provider = self.request.provider.rpartition("::")[0]
        return {*self.request.dependencies, self.parent, provider} - {""}


@dataclass
class Graph:
    """What a program registered.

    Attributes:
        resources: Every registration, the stack's included, in no particular order.
        outputs: URN -> outputs as they were sent, for the stack and for finished components.
    """

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, struct_pb2.Struct] = field(default_factory=dict)

    @cached_property
    def by_urn(self) -> dict[str, Registered]:
        """Resources without the stack, in the order of their URNs."""
        return {one.urn: one for one in sorted(self.resources, key=lambda one: one.urn) if one.type != STACK_TYPE}

    @property
    def duplicates(self) -> list[str]:
        """URNs that were registered more than once."""
        return sorted(urn for urn, times in Counter(one.urn for one in self.resources).items() if times > 1)

    @property
    def orphans(self) -> list[str]:
        """Resources that hang under no component; providers, which belong to the program, aside."""
        return [
            urn
            for urn, one in self.by_urn.items()
            if one.parent.endswith(f"{STACK_TYPE}::project-test") and not one.is_component and not one.is_provider
        ]

    @property
    def unfinished(self) -> list[str]:
        """Components that did not register their outputs."""
        return [urn for urn, one in self.by_urn.items() if one.is_component and urn not in self.outputs]

    def on_default_provider(self, *packages: str) -> list[str]:
        """Resources of these packages that were given no provider."""
        return [
            urn
            for urn, one in self.by_urn.items()
            if one.request.custom and not one.request.provider and one.type.partition(":")[0] in packages
        ]

    def leaks(self, *sentinels: str) -> list[str]:
        """Places outside every secret envelope where one of the texts can be read, as `URN path`."""
        sent = [(one.urn, one.request.object) for one in self.resources] + list(self.outputs.items())
        return [
            f"{urn} {path}"
            for urn, properties in sent
            for path, text in _open_texts(struct_pb2.Value(struct_value=properties), "")
            if any(sentinel in text for sentinel in sentinels)
        ]

    def of_type(self, token: str) -> list[Registered]:
        """Resources of one type, in the order of their URNs."""
        return [one for one in self.by_urn.values() if one.type == token]

    def one(self, token: str, name: str) -> Registered:
        """The resource of this type and name."""
        found = [one for one in self.of_type(token) if one.name == name]
        if len(found) != 1:
            names = [one.name for one in self.of_type(token)]
            raise LookupError(f"{len(found)} resources are {token} {name}; there are {names}")
        return found[0]

    def exports(self) -> dict[str, Any]:
        """The stack's outputs, secrets opened."""
        [stack] = [one.urn for one in self.resources if one.type == STACK_TYPE]
        opened: dict[str, Any] = _plain(struct_pb2.Value(struct_value=self.outputs[stack]))
        return opened

    def before(self, later: Registered) -> set[str]:
        """URNs of everything that exists before `later` does."""
        seen: set[str] = set()
        waiting = [later.urn]
        known = {one.urn: one for one in self.resources}
        while waiting:
            fresh = known[waiting.pop()].needs - seen
            seen |= fresh
            waiting += [urn for urn in fresh if urn in known]
        return seen


class _Recorder(MockMonitor):
    """Answers the SDK as the engine would, and keeps what it was told."""

    def __init__(self, graph: Graph, answers: Answers, *, preview: bool) -> None:
        super().__init__(_NoMocks())
        self._graph = graph
        self._answers = answers
        self._preview = preview

    def RegisterResource(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        one = Registered(
            urn=_urn(request),
            type=request.type,
            name=request.name,
            parent=request.parent,
            inputs=_plain(struct_pb2.Value(struct_value=request.object)),
            request=request,
        )
        self._graph.resources.append(one)
        if not request.custom:
            return resource_pb2.RegisterResourceResponse(urn=one.urn)
        state = struct_pb2.Struct()
        state.CopyFrom(request.object)
        if self._preview:
            return resource_pb2.RegisterResourceResponse(urn=one.urn, object=state)
        for key, text in self._answers(one).items():
            value = struct_pb2.Value(string_value=text)
            state.fields[key].CopyFrom(_sealed(value) if key in request.additionalSecretOutputs else value)
        return resource_pb2.RegisterResourceResponse(urn=one.urn, id=f"{request.name}-id", object=state)

    def RegisterResourceOutputs(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> empty_pb2.Empty:
        self._graph.outputs[request.urn] = request.outputs
        return empty_pb2.Empty()


class _NoMocks(Mocks):
    """Nothing here asks a provider while the graph is built: it could not be previewed without one."""

    def call(self, args: MockCallArgs) -> Any:
        raise AssertionError(f"the program calls the provider function {args.token}")

    def new_resource(self, args: MockResourceArgs) -> Any:
        raise AssertionError(f"the program reads {args.typ} {args.name} from a provider")


def no_answers(_: Registered) -> Mapping[str, str]:
    """Providers that return the inputs and nothing else."""
    return {}


def build(
    program: Callable[[], object],
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    answers: Answers = no_answers,
    preview: bool = False,
) -> Graph:
    """Runs a program and returns what it registered, when everything is.

    Args:
        program: Registers resources.
        config: Stack configuration, by full key.
        secrets: The part of it that is secret.
        answers: What providers would answer.
        preview: Whether outputs stay unknown, as in `pulumi preview`.
    """
    graph = Graph()

    async def run() -> None:
        recorder = _Recorder(graph, answers, preview=preview)
        # `configure` keeps every setting in a context variable, and this context is nobody else's.
        configure(
            Settings(
                project="project",
                stack="test",
                organization="organization",
                root_directory=".",
                monitor=recorder,
                engine=MockEngine(None),
                dry_run=preview,
            )
        )
        set_all_config({**(config or {}), **(secrets or {})}, sorted(secrets or {}))
        await run_in_stack(_quiet(program))

    contextvars.copy_context().run(asyncio.run, run())
    return graph


def _quiet(program: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        program()

    return run


def _urn(request: resource_pb2.RegisterResourceRequest) -> str:
    """As the engine forms it: the types of all ancestors but the stack, then the type, then the name."""
    parent = request.parent.split("::")[2] if request.parent else STACK_TYPE
    qualified = request.type if parent == STACK_TYPE else f"{parent}${request.type}"
    return f"urn:pulumi:test::project::{qualified}::{request.name}"


def _is_secret(value: struct_pb2.Value) -> bool:
    return value.struct_value.fields[_SIGNATURE].string_value == _SECRET if _has(value, _SIGNATURE) else False


def _has(value: struct_pb2.Value, key: str) -> bool:
    return value.WhichOneof("kind") == "struct_value" and key in value.struct_value.fields


def _sealed(value: struct_pb2.Value) -> struct_pb2.Value:
    envelope = {_SIGNATURE: struct_pb2.Value(string_value=_SECRET), "value": value}
    return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=envelope))


def _plain(value: struct_pb2.Value) -> Any:
    if _is_secret(value):
        return _plain(value.struct_value.fields["value"])
    match value.WhichOneof("kind"):
        case "struct_value":
            return {key: _plain(inner) for key, inner in value.struct_value.fields.items()}
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _open_texts(value: struct_pb2.Value, path: str) -> Iterator[tuple[str, str]]:
    if _is_secret(value):
        return
    match value.WhichOneof("kind"):
        case "struct_value":
            for key, inner in value.struct_value.fields.items():
                yield from _open_texts(inner, f"{path}.{key}")
        case "list_value":
            for index, inner in enumerate(value.list_value.values):
                yield from _open_texts(inner, f"{path}[{index}]")
        case "string_value":
            yield path, value.string_value
        case _:
            return
