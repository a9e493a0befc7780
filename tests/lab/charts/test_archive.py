"""Archives and index: the same bytes each time, and real archives in place of stand-ins."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import yaml

from lab.charts.archive import build_index, build_stand_ins, collect_archives, pack_chart, read_archive
from lab.charts.stand_in import CatalogError


def real_chart(directory: Path, name: str, version: str) -> Path:
    """Writes an archive as ``helm package`` would, with a dependency inside."""
    chart = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    path = directory / f"{name}-{version}.tgz"
    path.write_bytes(pack_chart(name, {"charts/sub/Chart.yaml": "name: sub\nversion: 0.0.1\n", "Chart.yaml": chart}))
    return path


def test_archives_and_index_are_the_same_bytes_every_time() -> None:
    first, second = build_stand_ins(), build_stand_ins()
    assert [item.data for item in first] == [item.data for item in second], "a pinned digest must stay true"
    assert build_index(first) == build_index(second)


def test_an_archive_unpacks_into_a_directory_of_the_charts_name() -> None:
    metallb = next(item for item in build_stand_ins() if item.name == "metallb")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(metallb.data))) as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {"metallb"}
        assert "metallb/Chart.yaml" in tar.getnames()


def test_the_index_names_file_and_digest_of_each_chart() -> None:
    archives = build_stand_ins()
    entries = yaml.safe_load(build_index(archives))["entries"]
    for item in archives:
        listed = entries[item.name][0]
        assert listed["urls"] == [item.file]
        assert listed["digest"] == hashlib.sha256(item.data).hexdigest(), "Helm refuses an archive with another digest"


def test_a_real_archive_replaces_the_stand_in_of_its_name_and_leaves_the_others(tmp_path: Path) -> None:
    real_chart(tmp_path, "metallb", "0.16.9")
    archives = {item.name: item for item in collect_archives(tmp_path)}
    assert (archives["metallb"].chart["version"], archives["metallb"].source) == ("0.16.9", "archive")
    assert archives["kueue"].source == "stand-in"
    listed = yaml.safe_load(build_index(collect_archives(tmp_path)))["entries"]["metallb"]
    assert [item["annotations"] for item in listed] == [{"lab.lyceum/source": "archive"}]


def test_a_chart_from_its_controllers_module_replaces_the_stand_in_and_a_given_archive_replaces_both(
    tmp_path: Path,
) -> None:
    packed = [real_chart(tmp_path, "metallb", "0.16.1"), real_chart(tmp_path, "kueue", "0.19.2")]
    given = tmp_path / "given"
    given.mkdir()
    real_chart(given, "kueue", "0.19.3")

    sources = {item.name: (item.source, item.chart["version"]) for item in collect_archives(given, packed)}
    assert sources["metallb"] == ("module", "0.16.1")
    assert sources["kueue"] == ("archive", "0.19.3")
    assert sources["cert-manager"][0] == "stand-in"


def test_the_charts_own_description_is_read_and_not_a_dependencys(tmp_path: Path) -> None:
    assert read_archive(real_chart(tmp_path, "alpha", "1.2.3")).name == "alpha"


def test_an_empty_directory_of_charts_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="helm pull"):
        collect_archives(tmp_path)


def test_a_file_that_is_no_chart_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "note.tgz").write_text("hello")
    with pytest.raises(CatalogError, match=r"note\.tgz: no Helm chart archive"):
        collect_archives(tmp_path)
