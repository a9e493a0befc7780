"""The recording monitor must see what it is there to see; each test makes the mistake that it looks for."""

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.base import Component
from tests.support.mocks import build

SENTINEL = "hush-hush"


class Box(Component):
    TOKEN = "lyceum:test:Box"

    def __init__(self, name: str, *, finish: bool = True) -> None:
        super().__init__(name)
        if finish:
            self.register_outputs({})


def config_map(name: str, opts: pulumi.ResourceOptions | None = None, **data: pulumi.Input[str]) -> pulumi.Resource:
    return k8s.core.v1.ConfigMap(name, data=data, opts=opts)


def test_a_resource_under_no_component_is_an_orphan() -> None:
    graph = build(lambda: (config_map("lost"), config_map("kept", Box("box").child())))

    assert [urn.rpartition("::")[2] for urn in graph.orphans] == ["lost"]


def test_a_resource_without_its_provider_is_seen() -> None:
    def program() -> None:
        provider = k8s.Provider("given", kubeconfig="{}")
        config_map("with", pulumi.ResourceOptions(provider=provider))
        config_map("without")

    found = build(program).on_default_provider("kubernetes")

    assert [urn.rpartition("::")[2] for urn in found] == ["without"]


def test_a_component_that_never_registers_its_outputs_is_unfinished() -> None:
    graph = build(lambda: (Box("done"), Box("left", finish=False)))

    assert [urn.rpartition("::")[2] for urn in graph.unfinished] == ["left"]


def test_two_resources_of_one_name_are_duplicates() -> None:
    assert len(build(lambda: (config_map("twin"), config_map("twin"))).duplicates) == 1


@pytest.mark.parametrize("open_text", [SENTINEL, f"before {SENTINEL} after"])
def test_a_secret_in_plain_input_leaks(open_text: str) -> None:
    [leak] = build(lambda: config_map("told", key=open_text)).leaks(SENTINEL)

    assert leak.endswith("::told .data.key"), "the place of the leak must be named"


def test_a_secret_in_its_envelope_does_not_leak_and_is_still_readable_to_a_test() -> None:
    graph = build(lambda: config_map("kept", key=pulumi.Output.secret(SENTINEL)))

    assert graph.leaks(SENTINEL) == []
    assert graph.one("kubernetes:core/v1:ConfigMap", "kept").inputs["data"] == {"key": SENTINEL}


def test_a_secret_that_the_stack_exports_in_plain_text_leaks() -> None:
    assert build(lambda: pulumi.export("password", SENTINEL)).leaks(SENTINEL) != []


def test_order_follows_arguments_options_parents_and_providers() -> None:
    def program() -> None:
        provider = k8s.Provider("provider", kubeconfig="{}")
        first = config_map("first", Box("box").child(provider=provider))
        second = config_map("second", pulumi.ResourceOptions(depends_on=[first]))
        config_map("third", other=second.urn)

    graph = build(program)
    before = {urn.rpartition("::")[2] for urn in graph.before(graph.one("kubernetes:core/v1:ConfigMap", "third"))}

    assert before == {"project-test", "provider", "box", "first", "second"}


def test_a_preview_knows_no_outputs() -> None:
    seen: list[str] = []

    def program() -> None:
        config_map("one").urn.apply(lambda _: None)
        k8s.core.v1.Secret("two").id.apply(seen.append)

    build(program, preview=True)

    assert seen == [], "an identity is known only after creation"


def test_an_error_of_the_program_is_the_tests_error() -> None:
    def program() -> None:
        raise ValueError("no such node")

    with pytest.raises(ValueError, match="no such node"):
        build(program)
