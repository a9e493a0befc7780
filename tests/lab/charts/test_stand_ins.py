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


def workload(**fields: object) -> dict[str, object]:
    return {"name": "{fullname}-server", "component": "server", "image": "lab/server:2.0.0"} | fields


@pytest.mark.parametrize("item", load_catalog(), ids=lambda item: item.name)
def test_every_entry_says_in_its_chart_that_it_is_a_stand_in(item: CatalogEntry) -> None:
    chart = yaml.safe_load(build_chart_files(item)["Chart.yaml"])
    assert chart["annotations"] == {"lab.lyceum/source": "stand-in"}, "nobody may take a stand-in for upstream's chart"
    assert (chart["name"], chart["version"]) == (item.name, item.version)


def test_a_workload_takes_replicas_placement_and_resources_from_its_values() -> None:
    at = {"replicaCount": 1, "nodeSelector": {}, "resources": {}}
    text = render_templates(entry(values={"server": at}, workloads=[workload(at="server")]))["workloads.yaml"]
    for key, path in (("replicas", "replicaCount"), ("nodeSelector", "nodeSelector"), ("resources", "resources")):
        assert f'"{key}": {{{{ toJson' in text, f"{key} must follow the release's values"
        assert f'index .Values "server" "{path}"' in text


def test_a_workload_whose_kind_is_a_value_is_written_once_for_each_kind() -> None:
    text = render_templates(entry(values={"kind": "DaemonSet"}, workloads=[workload(kind_from="kind")]))[
        "workloads.yaml"
    ]
    deployment, daemonset = text.split("---\n")
    assert 'kind: "Deployment"' in deployment
    assert 'kind: "DaemonSet"' in daemonset
    assert "replicas" not in daemonset, "the API server refuses replicas on a DaemonSet"


def test_a_path_that_the_values_do_not_hold_is_refused_when_the_entry_is_read() -> None:
    with pytest.raises(ValueError, match=r"values have no 'server\.enabled'; add it under values"):
        entry(values={"server": {}}, workloads=[workload(when=["server.enabled"])])


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
    example = text.split("```yaml\n")[1].split("```")[0]
    item = CatalogEntry.model_validate(yaml.safe_load(example))
    assert 'index .Values "" "replicas"' not in render_templates(item)["workloads.yaml"]
    assert 'index .Values "replicas"' in render_templates(item)["workloads.yaml"], (
        "people copy it: it must do what it says"
    )
