"""The catalogue: entries become charts that say what they stand for, and entries that contradict themselves are refused."""

from pathlib import Path

import pytest
import yaml

from lab.charts.archive import build_chart_files
from lab.charts.crds import build_definition, pluralize
from lab.charts.stand_in import CATALOG, CatalogEntry, CatalogError, load_catalog, read_entry
from lab.charts.templates import condition_expression, render_templates


def entry(**fields: object) -> CatalogEntry:
    base = {"name": "demo", "version": "1.0.0", "app_version": "2.0.0", "description": "A demo."}
    return CatalogEntry.model_validate(base | fields)


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "server"},
    "spec": {
        "template": {"spec": {"containers": [{"name": "proxy", "image": "p:1"}, {"name": "main", "image": "m:1"}]}}
    },
}
CLASS = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}}


def rendered(**fields: object) -> str:
    return render_templates(entry(objects=[DEPLOYMENT], **fields))["objects.yaml"]


@pytest.mark.parametrize("item", load_catalog(), ids=lambda item: item.name)
def test_every_entry_says_in_its_chart_that_it_is_a_stand_in(item: CatalogEntry) -> None:
    chart = yaml.safe_load(build_chart_files(item)["Chart.yaml"])
    assert chart["annotations"] == {"lab.lyceum/source": "stand-in"}, "nobody may take a stand-in for upstream's chart"
    assert (chart["name"], chart["version"]) == (item.name, item.version)


def test_an_object_that_follows_no_value_is_as_in_the_facts() -> None:
    text = rendered()
    assert '"containers": [{"name": "proxy", "image": "p:1"}, {"name": "main", "image": "m:1"}]' in text
    assert text.count("{{") == 1, "only its namespace is the release's"


def test_a_workload_takes_replicas_and_placement_from_the_values_that_it_follows() -> None:
    at = {"replicaCount": 1, "nodeSelector": {}, "tolerations": []}
    text = rendered(values={"server": at}, follows={"Deployment/server": {"at": "server"}})
    for key, path in (("replicas", "replicaCount"), ("nodeSelector", "nodeSelector"), ("tolerations", "tolerations")):
        assert f'"{key}": {{{{ toJson' in text, f"{key} must follow the release's values"
        assert f'index .Values "server" "{path}"' in text


def test_the_container_that_is_named_takes_the_resources() -> None:
    follow = {"at": "server", "container": "main"}
    text = rendered(values={"server": {"resources": {}}}, follows={"Deployment/*": follow})
    assert '{"name": "main", "image": "m:1", "resources": {{ toJson' in text
    assert '{"name": "proxy", "image": "p:1"}' in text


def test_a_program_that_runs_gets_its_arguments_and_keeps_the_shape_of_the_facts() -> None:
    runs = {"args": ["--host={{ .Values.host }}"], "volumeMounts": "{{ toJson .Values.mounts }}"}
    text = rendered(follows={"Deployment/*": {"container": "main", "runs": runs, "annotations": {"sum": "{{ .x }}"}}})
    assert '{"name": "main", "image": "m:1", "args": ["--host={{ .Values.host }}"]' in text
    assert '"volumeMounts": {{ toJson .Values.mounts }}}' in text, "an expression alone gives JSON"
    assert '"annotations": {"sum": "{{ .x }}"}' in text


def test_a_path_that_the_values_do_not_hold_is_refused_when_the_entry_is_read() -> None:
    with pytest.raises(ValueError, match=r"values have no 'server\.enabled'; add it under values"):
        entry(values={"server": {}}, objects=[DEPLOYMENT], follows={"Deployment/*": {"when": ["server.enabled"]}})


@pytest.mark.parametrize("field", [{"follows": {"Job/x": {}}}, {"templated": ["Job/x"]}, {"left_out": {"Job/x": "a"}}])
def test_a_pattern_that_names_no_object_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Job/x: the chart has no such object"):
        entry(objects=[DEPLOYMENT], **field)


def test_an_object_that_nothing_makes_is_refused() -> None:
    with pytest.raises(ValueError, match="StorageClass/fast: write a template"):
        entry(objects=[CLASS])
    assert render_templates(entry(objects=[CLASS], templated=["StorageClass/*"])) == {}


def test_a_broken_entry_is_named_with_its_file_and_field(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("name: demo\nversion: 1.0.0\n")
    with pytest.raises(CatalogError, match=r"(?s)demo\.yaml: .*app_version"):
        read_entry(tmp_path / "demo.yaml")


def test_an_entry_in_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    text = "name: demo\nversion: 1.0.0\napp_version: 1.0.0\ndescription: A demo.\n"
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(CatalogError, match="named after its chart"):
        read_entry(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("terms", "expression"),
    [
        (("a.b",), '(index .Values "a" "b")'),
        (("!a",), '(not (index .Values "a"))'),
        (("a=x",), '(eq (toString (index .Values "a")) "x")'),
        (("a", "b"), 'and (index .Values "a") (index .Values "b")'),
    ],
)
def test_conditions_read_as_template_expressions(terms: tuple[str, ...], expression: str) -> None:
    assert condition_expression(terms) == expression


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("ClusterPolicy", "clusterpolicies"), ("CephNFS", "cephnfses"), ("BGPPeer", "bgppeers"), ("Gateway", "gateways")],
)
def test_plurals_are_formed_as_kubernetes_forms_them(kind: str, expected: str) -> None:
    assert pluralize(kind) == expected


def test_traits_say_versions_scope_and_subresources() -> None:
    spec = build_definition("kueue.x-k8s.io", "ResourceFlavor", "v1beta1 v1beta2* cluster nostatus")["spec"]
    facts = [(version["name"], version["served"], version["storage"]) for version in spec["versions"]]
    assert facts == [("v1beta1", True, False), ("v1beta2", True, True)]
    assert spec["scope"] == "Cluster"
    assert all("subresources" not in version for version in spec["versions"])


def test_kinds_that_people_look_at_show_their_state() -> None:
    shown = build_definition("ceph.rook.io", "CephCluster", "v1", columns={"Phase": ".status.phase"})["spec"][
        "versions"
    ][0]
    assert shown["additionalPrinterColumns"] == [{"name": "Phase", "jsonPath": ".status.phase", "type": "string"}]


def test_a_column_belongs_to_a_kind_of_the_entry() -> None:
    for item in load_catalog():
        if item.crds:
            kinds = {kind for kinds in item.crds.kinds.values() for kind in kinds}
            assert item.crds.columns.keys() <= kinds, f"{item.name}: columns of a kind that it does not bring"


def test_an_unknown_trait_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Demo\.example\.org: traits 'v1 clutser' hold \['clutser'\]"):
        build_definition("example.org", "Demo", "v1 clutser")


def test_definitions_lie_where_upstream_puts_them_because_uninstalling_depends_on_it() -> None:
    files = {item.name: build_chart_files(item) for item in load_catalog()}
    assert "crds/crds.yaml" in files["gpu-operator"], "Helm never deletes what is in crds/"
    assert "templates/crds.yaml" in files["kueue"], "these go with the release, and their objects with them"
    assert "helm.sh/resource-policy: keep" in files["rook-ceph"]["templates/crds.yaml"]


def test_the_example_in_the_documentation_is_a_good_entry() -> None:
    text = (CATALOG.parents[2] / "docs" / "charts.md").read_text()
    facts, example = (yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml\n")[1:3])
    item = CatalogEntry.model_validate({"version": "1", "app_version": "1", "objects": facts["objects"]} | example)
    found = render_templates(item)["objects.yaml"]
    assert 'index .Values "" "replicas"' not in found
    assert 'index .Values "replicas"' in found, "people copy it: it must do what it says"
