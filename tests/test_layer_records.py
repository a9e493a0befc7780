"""A layer is one record: it is complete, and a new one appears everywhere without another edit."""

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.layer import Layer, LayerArgs, Values
from config import layers
from config.layer_record import (
    ALWAYS,
    ApiGroup,
    GivenSecret,
    LayerRecord,
    NamespaceRecord,
    Need,
    ObjectHealth,
    Page,
    PlannedLayer,
    PodSecurity,
    ReleaseRecord,
    waits_for,
)
from config.layer_reference import render_layer_reference
from config.planned import PLANNED
from config.rules import access, names
from config.rules import layers as layer_rules
from config.versions import CHARTS, Chart
from lab import controllers
from lab.charts import archive, stand_in
from lab.controllers.kinds import KINDS
from ops.checks.status import object_state, release_states
from ops.site.show import installed_layers
from tests.support.layer_records import gaps
from tests.support.layers import NAMESPACE, RELEASE, layers_graph, releases
from tests.support.mocks import Graph
from tests.support.sites import Settings, site

SWITCH = "platform.costs"
ON: Settings = {"platform": {"costs": {"enabled": True}}}
TOY = LayerRecord(
    name="toy",
    component="components.platform.toy:Toy",
    summary="A layer that only this test has.",
    switch=SWITCH,
    needs=(
        *waits_for("storage"),
        Need(layer="certificates", demanded_by=SWITCH, reason="signs with cert-manager"),
    ),
    releases=(ReleaseRecord(chart="toy", namespace="toy-system", switch=ALWAYS, mirror_only=False, queues_pods=False),),
    namespaces=(NamespaceRecord(name="toy-system", level=PodSecurity.BASELINE),),
    apis=(ApiGroup(group="toys.example", definitions="toy", operator="toy"),),
    pages=(Page(label="toy", setting="", required=True),),
    given_secrets=(GivenSecret(name="toy-token", what="token of the toy", setting=SWITCH),),
    derived_secrets=("toy-password",),
    health=(
        ObjectHealth(
            namespace="toy-system",
            path="/apis/toys.example/v1/namespaces/toy-system/toys/toy",
            field="status.phase",
            healthy=("Ready",),
        ),
    ),
    stand_ins=("toy",),
)
STAND_IN = """\
name: toy
version: 1.2.3
app_version: 1.2.3
description: A toy.
crds:
  kinds:
    toys.example: {Toy: v1}
objects:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: toy}}
"""


class Toy(Layer):
    """The component of the toy layer."""

    TOKEN = "lyceum:platform:Toy"

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.ready = (self.add_release("toy", Values(password=self.secrets["toy-password"])),)
        self.register_outputs({})


class OtherChart(Toy):
    """Installs a chart that its record does not name."""

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.add_release("metallb", {})


class OtherNamespace(Toy):
    """Creates a namespace that its record does not name."""

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        k8s.core.v1.Namespace("other", metadata={"name": "other"}, opts=self.child())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Adds the toy layer: its record with changes, its component, its stand-ins and the pin of its chart; nothing else."""

    def module(name: str, **members: Any) -> None:
        found = ModuleType(name)
        found.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, found)

    def add(component: type[Layer] = Toy, /, **changes: Any) -> None:
        module("components.platform.toy", Toy=component)
        module("lab.controllers.toy", decide=lambda _: [])
        monkeypatch.setitem(CHARTS, "toy", Chart("toy", "1.2.3", "https://charts.toys.example"))
        (tmp_path / "toy.yaml").write_text(STAND_IN)
        entries = (*stand_in.load_catalog(), stand_in.read_entry(tmp_path / "toy.yaml"))
        monkeypatch.setattr(archive, "load_catalog", lambda: entries)
        monkeypatch.setattr("tests.support.layer_records.load_catalog", lambda: entries)
        monkeypatch.setattr(layers, "LAYERS", (*layers.LAYERS, replace(TOY, **changes)))

    return add


# A new layer


def test_a_layer_is_in_the_graph_after_what_it_needs(toy: Callable[..., None]) -> None:
    before = releases(site(ON))
    toy()
    graph = layers_graph(site(ON))
    release = graph.one(RELEASE, "toy")
    namespace = graph.one(NAMESPACE, "toy-system-namespace")

    assert releases(site(ON)) - before == {"toy"}
    assert "toy" not in releases(site()), "it is switched off"
    assert namespace.inputs["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "baseline"}
    earlier = {graph.by_urn[urn].name for urn in graph.before(release) if urn in graph.by_urn}
    assert {"rook-ceph-cluster", "clusterissuer-campus", "toy-system-namespace"} <= earlier
    assert "gpu-operator" not in earlier, "it waits for nothing that it does not need"


def test_a_layer_is_handed_its_own_secrets(toy: Callable[..., None]) -> None:
    toy()

    assert layers_graph(site(ON)).one(RELEASE, "toy").inputs["values"] == {"password": "the-secret-toy-password"}


def test_the_rules_reserve_its_namespace_and_page_and_check_its_needs(toy: Callable[..., None]) -> None:
    toy()
    tenant = {"name": "toy-system", "groups": ["physics"]}
    machine = {"name": "toy", "role": "server", "host": "pve1", "shape": "server", "address": "10.9.0.31"}
    off = {"certificates": {"enabled": False}, "ingress": {"enabled": False}, "costs": {"enabled": True}}

    assert [one.rule for one in access.check_tenants(site({"tenants": [tenant]}))] == ["is a namespace of the platform"]
    assert [one.rule for one in names.check_machine_names(site(ON | {"nodes": [machine]}))] == [
        f"is also the name of the page of {SWITCH}"
    ]
    found = {(one.subject_text, one.rule) for one in layer_rules.check_demands(site({"platform": off}))}
    assert {
        (SWITCH, "is a page, but platform.ingress is off"),
        (SWITCH, "signs with cert-manager, but platform.certificates is off"),
    } <= found
    assert "toy-system" in layers.unqueued_namespaces()


def test_show_and_the_reference_page_have_it(toy: Callable[..., None]) -> None:
    toy()

    assert installed_layers(site(ON))[-1] == {
        "name": "toy",
        "switch": SWITCH,
        "charts": {"toy": "1.2.3"},
        "pages": ["https://toy.campus.example"],
    }
    assert (
        "| `toy` | `toy` 1.2.3 in `toy-system` | `toy-system` (baseline) | `toy` | `toy` |" in render_layer_reference()
    )


def test_status_expects_its_release_and_checks_its_object(toy: Callable[..., None]) -> None:
    toy()
    missing = next(one for one in release_states(site(ON), {}, {}) if one.name == "toy")

    assert (missing.namespace, missing.ready, missing.waiting) == ("toy-system", False, "not installed")
    assert object_state("toy", TOY.health[0], {"status": {"phase": "Ready"}}).ready
    assert object_state("toy", TOY.health[0], {"status": {"phase": "Failed"}}).waiting == "status.phase is Failed"
    assert object_state("toy", TOY.health[0], None).waiting.endswith("/toys/toy does not exist")


def test_the_lab_serves_its_chart_and_plays_its_operator(toy: Callable[..., None]) -> None:
    toy()

    assert "toy" in {one.name for one in archive.collect_archives(None)}
    assert "toy" in controllers.stand_ins()


def test_a_complete_record_has_no_gaps(toy: Callable[..., None]) -> None:
    toy()

    assert list(gaps(layers.LAYERS[-1])) == []


# An incomplete one


@pytest.mark.parametrize("field", [field.name for field in fields(LayerRecord)])
def test_a_record_that_lacks_a_field_fails_by_its_name(field: str) -> None:
    given = {one.name: getattr(TOY, one.name) for one in fields(LayerRecord) if one.name != field}

    with pytest.raises(TypeError, match=rf"missing .*'{field}'"):
        LayerRecord(**given)


@pytest.mark.parametrize(
    "part", [ApiGroup, GivenSecret, NamespaceRecord, Need, ObjectHealth, Page, PlannedLayer, ReleaseRecord]
)
def test_no_part_of_a_record_has_a_default(part: type) -> None:
    with pytest.raises(TypeError, match=fields(part)[-1].name):
        part()


RELEASE_OF_TOY = TOY.releases[0]
INCOMPLETE: dict[str, dict[str, Any]] = {
    "no module named": {"component": "components.platform.nothing:Toy"},
    "has no attribute 'nothing'": {"component": "components.platform.toy:nothing"},
    "is not a layer": {"component": "components.platform.queues:Node"},
    "there is no such setting": {"switch": "platform.nothing"},
    "pins no version": {"releases": (replace(RELEASE_OF_TOY, chart="nothing"),)},
    "has no stand-in": {"releases": (replace(RELEASE_OF_TOY, chart="nothing"),)},
    "no layer creates the namespace nothing": {"releases": (replace(RELEASE_OF_TOY, namespace="nothing"),)},
    "no record names its api group toys.example": {"apis": ()},
    "no layer installs the chart nothing": {
        "apis": (*TOY.apis, ApiGroup(group="more.example", definitions="toy", operator="nothing"))
    },
    "no layer before toy has this name": {"needs": waits_for("nothing")},
    "lab/controllers has no such module": {"stand_ins": ("nothing",)},
}
"""What is told -> what the record has."""


@pytest.mark.parametrize("gap", INCOMPLETE)
def test_an_incomplete_record_is_found(toy: Callable[..., None], gap: str) -> None:
    toy(**INCOMPLETE[gap])

    assert gap in "\n".join(gaps(layers.LAYERS[-1])).lower()


def test_a_chart_that_the_record_does_not_name_is_not_installed(toy: Callable[..., None]) -> None:
    toy(OtherChart)

    with pytest.raises(Exception, match="installs the chart `metallb`, which its record does not name"):
        layers_graph(site(ON))


def foreign_namespaces(graph: Graph) -> list[str]:
    """Namespaces that a component creates although its record does not name them."""
    named = {record.name: {one.name for one in record.namespaces} for record in layers.LAYERS}
    return [
        one.inputs["metadata"]["name"]
        for one in graph.of_type(NAMESPACE)
        if one.inputs["metadata"]["name"] not in named[graph.by_urn[one.parent].name]
    ]


def test_a_namespace_that_the_record_does_not_name_is_found(toy: Callable[..., None]) -> None:
    toy(OtherNamespace)

    assert foreign_namespaces(layers_graph(site(ON))) == ["other"]


# The layers that there are


@pytest.mark.parametrize("record", layers.LAYERS, ids=lambda record: record.name)
def test_every_record_is_complete(record: LayerRecord) -> None:
    assert list(gaps(record)) == []


def test_components_create_the_namespaces_of_their_records_and_no_others() -> None:
    nfs: Settings = {"platform": {"storage": {"nfs": {"server": "nfs.campus.example", "share": "/homes"}}}}
    graph = layers_graph(site(nfs | {"charts": "https://mirror.campus.example/charts"}))

    assert foreign_namespaces(graph) == []
    assert {one.inputs["metadata"]["name"] for one in graph.of_type(NAMESPACE)} == {
        namespace.name for record in layers.LAYERS for namespace in record.namespaces
    }


def test_no_two_layers_share_a_name_a_namespace_or_a_chart() -> None:
    for found in (
        [*(record.name for record in layers.LAYERS), *(layer.name for layer in layers.PLANNED_LAYERS)],
        [namespace.name for record in layers.LAYERS for namespace in record.namespaces],
        [release.chart for record in layers.LAYERS for release in record.releases],
    ):
        assert len(found) == len(set(found))


def test_every_pin_stand_in_and_kind_of_the_lab_belongs_to_a_layer() -> None:
    charts = {release.chart for record in layers.LAYERS for release in record.releases}
    groups = {api.group for record in layers.LAYERS for api in record.apis}

    assert CHARTS.keys() == charts
    assert {entry.name for entry in stand_in.load_catalog()} == charts
    assert {kind.group for kind in KINDS.values() if kind.custom} <= groups


def test_every_module_with_a_decision_is_named_by_a_record() -> None:
    folder = Path(controllers.__file__).parent
    deciding = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if "\ndef decide(" in path.read_text()
    }

    assert controllers.stand_ins().keys() == deciding


def test_the_docs_describe_every_stand_in_of_an_operator() -> None:
    text = (Path(__file__).parents[1] / "docs" / "charts.md").read_text()

    assert [name for name in controllers.stand_ins() if f"| `{name.replace('.', '/')}` |" not in text] == []


def switches(value: Any, path: str = "") -> set[str]:
    """Every setting with an `enabled` below a place in the model."""
    if not hasattr(type(value), "model_fields"):
        return set()
    own = {path} if "enabled" in type(value).model_fields else set()
    inner = {
        switch
        for name in type(value).model_fields
        for switch in switches(getattr(value, name), f"{path}.{name.replace('_', '-')}".removeprefix("."))
    }
    return own | inner


def test_every_switch_of_a_site_belongs_to_a_layer() -> None:
    built = {record.switch for record in layers.LAYERS}
    built |= {release.switch for record in layers.LAYERS for release in record.releases}
    planned = {layer.switch for layer in layers.PLANNED_LAYERS}
    own = {
        switch
        for section in ("platform", "workspaces", "identity")
        for switch in switches(site())
        if switch.startswith(section)
    }

    assert own - built - planned == set()
    assert built & planned == set()


def test_a_planned_layer_has_planned_settings() -> None:
    """Whoever builds it moves it to the records."""
    for layer in layers.PLANNED_LAYERS:
        sections = {layer.switch, layer.switch.partition(".")[0]}
        assert sections & PLANNED.keys(), f"{layer.name}: something reads {layer.switch}, so it has a record"


def test_no_pod_of_the_platform_needs_kueues_permission() -> None:
    """While Kueue is silent its webhooks refuse every pod elsewhere: of the ingress, of a storage driver, of Trainer."""
    installed = {release.namespace for record in layers.LAYERS for release in record.releases}

    assert installed - set(layers.unqueued_namespaces()) == {"jupyterhub"}, "notebooks take their place in the queue"
    assert "kube-system" in layers.unqueued_namespaces()


def test_releases_of_one_namespace_agree_whether_its_pods_queue() -> None:
    """Kueue is told namespaces."""
    every = [(release.namespace, release.queues_pods) for record in layers.LAYERS for release in record.releases]

    assert len(set(every)) == len({namespace for namespace, _ in every})
