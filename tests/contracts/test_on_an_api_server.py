"""Everything that the program creates in Kubernetes, offered to a real API server with upstream's real definitions.

A dry run with strict field validation judges what a schema cannot: CEL rules, defaults, names, and native kinds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from config.site import STAGES
from tests.contracts.upstream import FOLDER, Loader, definitions, needs_upstream
from tests.support.controlplane import ControlPlane
from tests.support.program import ALL_SITES, program

pytestmark = [pytest.mark.lab, needs_upstream]

LAST = list(STAGES)[-1]


def objects(site: str) -> list[dict[str, Any]]:
    """Whole Kubernetes objects; a patch of somebody else's object cannot be offered by itself."""
    found = [one for one in program(site, LAST).by_urn.values() if one.type.startswith("kubernetes:")]
    return [one.inputs for one in found if "apiVersion" in one.inputs and not one.type.endswith("Patch")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with upstream's definitions of every custom kind in use, and every namespace."""
    used = [item for site in ALL_SITES for item in objects(site)]
    kinds = {(item["apiVersion"].partition("/")[0], item["kind"]) for item in used} & definitions().keys()
    with ControlPlane(tmp_path_factory.mktemp("contracts"), pods=False) as plane:
        plane.define(*(item for path in sorted(FOLDER.glob("**/crds/*.yaml")) for item in _wanted(path, kinds)))
        for namespace in {item["metadata"]["name"] for item in used if item["kind"] == "Namespace"}:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            plane.create("/api/v1/namespaces", body)
        yield plane


def _wanted(path: Path, kinds: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    if any(f"kind: {kind}\n" in path.read_text() for _, kind in kinds):
        for item in yaml.load_all(path.read_text(), Loader):
            spec = item["spec"] if item and item["kind"] == "CustomResourceDefinition" else {}
            if spec and (spec["group"], spec["names"]["kind"]) in kinds:
                # Its converter is a pod of the operator, which does not run here.
                spec.pop("conversion", None)
                yield item


def offer(server: ControlPlane, item: dict[str, Any]) -> httpx.Response:
    """Asks the server what it thinks of an object; nothing is stored."""
    group = item["apiVersion"]
    found = server.get(f"/apis/{group}" if "/" in group else f"/api/{group}")["resources"]
    place = next(entry for entry in found if entry["kind"] == item["kind"] and "/" not in entry["name"])
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    within = f"/namespaces/{item['metadata'].get('namespace', 'default')}" if place["namespaced"] else ""
    return server.http.post(f"{root}{within}/{place['name']}?dryRun=All&fieldValidation=Strict", json=item)


@pytest.mark.parametrize("site", ALL_SITES)
def test_the_api_server_takes_every_object_of_the_program(server: ControlPlane, site: str) -> None:
    problems = {}
    for item in objects(site):
        answer = offer(server, item)
        there = item["kind"] == "Namespace" and answer.status_code == httpx.codes.CONFLICT
        if not (answer.is_success or there):
            problems[f"{item['kind']} {item['metadata']['name']}"] = answer.json()["message"]
    assert problems == {}


def test_a_mistyped_field_would_be_noticed(server: ControlPlane) -> None:
    spec = {"addresses": ["10.0.0.0/24"], "autoAsign": False}
    pool = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "x"}, "spec": spec}
    assert 'unknown field "spec.autoAsign"' in offer(server, pool).json()["message"]


def test_a_broken_rule_would_be_noticed(server: ControlPlane) -> None:
    """A rule in CEL, which no schema check outside an API server evaluates."""
    flavor = {"name": "f", "resources": [{"name": "cpu", "nominalQuota": "1", "borrowingLimit": "1"}]}
    spec = {"resourceGroups": [{"coveredResources": ["cpu"], "flavors": [flavor]}]}
    queue = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": "x"}, "spec": spec}
    assert "borrowingLimit must be nil when cohort is empty" in offer(server, queue).json()["message"]
