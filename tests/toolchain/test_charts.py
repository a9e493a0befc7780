"""Charts packed from the Go modules of their controllers: as released, and the same bytes every time."""

import io
import tarfile
from pathlib import Path

import pytest
import yaml

from toolchain import charts
from toolchain.charts import ChartSourceError


def write(directory: Path, **files: str) -> Path:
    """A module directory with files; `__` in a name stands for a slash, and `_yaml` for the ending."""
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def unpack(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {member.name: stream.read().decode() for member in tar if (stream := tar.extractfile(member))}


def test_kueues_chart_names_the_images_of_its_release(tmp_path: Path) -> None:
    """The sources name those of the development branch."""
    values = "repository: us-central1-docker.pkg.dev/k8s-staging-images/kueue/kueue\ntag: release-0.19\n"
    module = write(
        tmp_path / "kueue@v0.19.2", charts__kueue__values_yaml=values, charts__kueue__Chart_yaml="name: kueue"
    )

    found = unpack(charts.kueue_chart(module))
    assert found["kueue/values.yaml"] == "repository: registry.k8s.io/kueue/kueue\ntag: v0.19.2\n"
    assert charts.kueue_chart(module) == charts.kueue_chart(module)


def test_a_chart_whose_sources_have_changed_is_not_packed(tmp_path: Path) -> None:
    module = write(tmp_path / "kueue@v0.20.0", charts__kueue__values_yaml="tag: release-0.20\n")

    with pytest.raises(ChartSourceError, match=r"values\.yaml has no"):
        charts.kueue_chart(module)


def test_trainers_chart_has_jobset_inside_and_depends_on_nothing_that_is_not(tmp_path: Path) -> None:
    """Helm refuses a chart whose dependency is not in the archive, also one that is switched off."""
    chart = "name: kubeflow-trainer\ndependencies:\n- name: jobset\n  version: 0.12.0\n- name: lws\n  version: 0.8.0\n\nkeywords: []\n"
    trainer = write(tmp_path / "v2@v2.3.0", **{"charts__kubeflow-trainer__Chart_yaml": chart})
    image = "image:\n  repository: us-central1-docker.pkg.dev/k8s-staging-images/jobset/jobset\n  tag: main\n"
    jobset = write(tmp_path / "jobset@v0.12.0", charts__jobset__values_yaml=image, charts__jobset__tests__a_yaml="")

    found = unpack(charts.trainer_chart(trainer, jobset))
    listed = yaml.safe_load(found["kubeflow-trainer/Chart.yaml"])["dependencies"]
    assert [one["name"] for one in listed] == ["jobset"]
    values = yaml.safe_load(found["kubeflow-trainer/charts/jobset/values.yaml"])
    assert values == {"image": {"repository": "registry.k8s.io/jobset/jobset", "tag": "v0.12.0"}}
    assert not [name for name in found if "/tests/" in name]


def test_the_operators_definitions_are_in_a_chart_inside_so_that_helm_can_store_the_release(tmp_path: Path) -> None:
    """Helm stores the outer chart with every release, in a Secret of at most 1 MiB; the definitions are 5 MiB."""
    file = {"example__prometheus-operator-crd__monitoring.coreos.com_probes_yaml": "kind: CustomResourceDefinition\n"}
    module = write(tmp_path / "prometheus-operator@v0.93.1", **file)

    found = unpack(charts.operator_definitions_chart(module, "31.0.1"))
    assert yaml.safe_load(found["prometheus-operator-crds/Chart.yaml"])["appVersion"] == "v0.93.1"
    outer = [name for name in found if not name.startswith("prometheus-operator-crds/charts/crds/")]
    assert outer == ["prometheus-operator-crds/Chart.yaml"]
    assert "prometheus-operator-crds/charts/crds/definitions/monitoring.coreos.com_probes.yaml" in found
