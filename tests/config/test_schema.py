"""What editors and readers see is what the model says."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from config.paths import PROJECT, SITES
from config.schema import generated_files, site_schema, stack_schema
from config.site import Site
from config.validate import validate_file
from config.yaml_source import read_document
from tests.support import golden

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in SITES.glob("*.yaml"))


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_a_generated_file_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated_files()[path], "run `python -m config.schema`"


def without_words(schema: Any) -> Any:
    """The schema without what is only said of a setting: a section may be described better, never renamed in passing."""
    if isinstance(schema, list):
        return [without_words(item) for item in schema]
    if isinstance(schema, dict):
        return {
            key: without_words(value)
            for key, value in schema.items()
            if not (key in {"description", "examples"} and isinstance(value, str | list))
        }
    return schema


def test_settings_their_types_and_defaults_change_only_on_purpose() -> None:
    """Every campus has a file that was written for them."""
    golden.check("settings.json", json.dumps(without_words(site_schema()), indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    "file", [HERE / "campus.yaml", *(SITES / f"{name}.yaml" for name in NAMES)], ids=lambda f: f.stem
)
def test_the_schema_accepts_what_the_check_accepts(file: Path) -> None:
    data = json.loads(json.dumps(read_document(file).data, default=str))
    assert [error.message for error in Draft202012Validator(site_schema()).iter_errors(data)] == []


@pytest.mark.parametrize(
    "mistake",
    ["unknown-section", "missing-gateway", "cores-negative", "role-misspelt", "pci-short", "gpu-model-unknown"],
)
def test_the_schema_refuses_what_an_editor_can_see(mistake: str) -> None:
    text = (HERE / "campus.yaml").read_text()
    for change in YAML(typ="safe").load(HERE / "invalid" / f"{mistake}.yaml")["change"]:
        text = text.replace(change["from"], change["to"])
    assert not Draft202012Validator(site_schema()).is_valid(YAML(typ="safe").load(text))


@pytest.mark.parametrize("stack", sorted(PROJECT.glob("Pulumi.*.yaml")), ids=lambda path: path.name)
def test_the_stacks_follow_their_schema_and_name_it(stack: Path) -> None:
    assert Draft202012Validator(stack_schema()).is_valid(read_document(stack).data)
    assert "yaml-language-server: $schema=config/sites/stack.schema.json" in stack.read_text()


def test_the_stack_schema_has_no_place_for_a_secret_in_plain_text() -> None:
    config = {"lyceum:site": "lab", "lyceum:stage": "alpha"}
    assert not Draft202012Validator(stack_schema()).is_valid({"config": config | {"lyceum:seed": "ab" * 32}})
    assert not Draft202012Validator(stack_schema()).is_valid({"config": config | {"lyceum:sede": {"secure": "v1:a:b"}}})


@pytest.mark.parametrize("name", NAMES)
def test_every_site_names_its_schema(name: str) -> None:
    first = (SITES / f"{name}.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=site.schema.json"


def test_every_setting_is_explained() -> None:
    def bare(schema: dict[str, object], path: str = "") -> list[str]:
        found = []
        properties = schema.get("properties")
        for name, item in (properties if isinstance(properties, dict) else {}).items():
            if "description" not in item and path != "AddressRange":
                found.append(f"{path}.{name}")
        return found

    definitions = site_schema()["$defs"]
    assert [line for name, item in definitions.items() for line in bare(item, name)] + bare(site_schema()) == []


def test_every_pattern_of_the_model_has_words() -> None:
    """A `Pattern` carries its rule and remedy; nobody should have to read a regular expression."""
    text = json.dumps(Site.__pydantic_core_schema__, default=str)
    assert '"pattern":' not in text, "a setting has `Field(pattern=...)`: use `Annotated[str, Pattern(...)]`"


def test_the_smallest_useful_site_fits_on_one_screen(tmp_path: Path) -> None:
    """What has a sensible default need not be said."""
    smallest = """\
name: small
title: A small lab
domain: lab.campus.edu
proxmox:
  endpoint: https://pve1.campus.edu:8006/
  image: {url: "https://images.campus.edu/node.qcow2"}
network:
  cidr: 10.9.0.0/24
  gateway: 10.9.0.1
  dns: [10.9.0.1]
  api-address: 10.9.0.30
  load-balancers: 10.9.0.50-10.9.0.60
shapes:
  server: {cores: 4, memory: 8 GiB, disk: 60 GiB}
  gpu: {cores: 12, memory: 48 GiB, disk: 200 GiB, ceph: 500 GiB}
hosts:
  - name: pve[1-3]
    cpus: 16
    memory: 64 GiB
    gpus: [{model: rtx-3090, pci: "0000:01:00.0", iommu-group: 14}]
nodes:
  - {name: "server-[1-3]", role: server, host: "pve[1-3]", shape: server, address: "10.9.0.[31-33]"}
  - {name: "gpu-[1-3]", role: worker, host: "pve[1-3]", shape: gpu, address: "10.9.0.[41-43]"}
identity: {authentik: {enabled: true}}
workspaces: {jupyterhub: {allowed-groups: [students]}}
"""
    (tmp_path / "small.yaml").write_text(smallest)
    assert validate_file(tmp_path / "small.yaml").findings == []
    assert len(smallest.splitlines()) <= 25
