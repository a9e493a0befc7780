"""What is deployed stays what it is, unless somebody says otherwise in words."""

from pathlib import Path
from typing import Any

import pytest

from config.immutable import compare_with_deployed, immutable_settings, read_export
from config.resource_names import STACK_TYPE, VM_TYPE
from config.site import Site
from config.validate import validate_file

CAMPUS = Path(__file__).parent / "campus.yaml"


@pytest.fixture(name="site")
def _site() -> Site:
    site = validate_file(CAMPUS).site
    assert site
    return site


def machine(site: Site, name: str, /, **other: Any) -> dict[str, Any]:
    node = next(node for node in site.machines if node.name == name)
    inputs = {
        "name": node.name,
        "vmId": node.vm_id,
        "nodeName": node.host,
        "networkDevices": [{"macAddress": node.mac.upper()}],
        "initialization": {"ipConfigs": [{"ipv4": {"address": f"{node.address}/16"}}]},
        "disks": [{"serial": "system", "size": node.shape.disk // 1024}],
    }
    return {"type": VM_TYPE, "inputs": inputs | other}


def export(site: Site, /, *resources: dict[str, Any], **outputs: Any) -> dict[str, Any]:
    stack = {"type": STACK_TYPE, "outputs": {"site": site.name, "fixed": immutable_settings(site)} | outputs}
    return {"deployment": {"resources": [stack, *resources]}}


def reported(site: Site, stack: dict[str, Any]) -> list[str]:
    return [f"{finding.rule}; {finding.remedy}" for finding in compare_with_deployed(site, stack)]


def test_an_unchanged_machine_is_no_mistake(site: Site) -> None:
    assert reported(site, export(site, *(machine(site, node.name) for node in site.machines))) == []


def test_the_configuration_of_another_site_is_refused(site: Site) -> None:
    assert reported(site, export(site, site="annex")) == [
        "differs from the site of this stack, annex; use a separate stack for each site"
    ]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"vmId": 213}, "of gpu-1 is deployed as 213"),
        ({"nodeName": "pve-2"}, "of gpu-1 is deployed as pve-2"),
        ({"networkDevices": [{"macAddress": "02:00:00:00:09:09"}]}, "of gpu-1 is deployed as 02:00:00:00:09:09"),
        (
            {"initialization": {"ipConfigs": [{"ipv4": {"address": "10.50.9.9/16"}}]}},
            "of gpu-1 is deployed as 10.50.9.9",
        ),
        ({"disks": [{"serial": "system", "size": 300}]}, "of gpu-1 shrinks `disk` from 300 GiB to 200 GiB"),
        ({"disks": [{"serial": "scratch", "size": 100}]}, "of gpu-1 shrinks `scratch` from 100 GiB"),
    ],
)
def test_what_would_replace_a_machine_is_refused(site: Site, change: dict[str, Any], rule: str) -> None:
    (line,) = reported(site, export(site, machine(site, "gpu-1", **change)))
    assert line.startswith(rule)


def test_a_machine_that_left_the_file_is_removed_by_its_own_command(site: Site) -> None:
    (line,) = reported(site, export(site, machine(site, "gpu-1", name="gpu-9")))
    assert line == "do not contain gpu-9, which is deployed; remove the node first: `./lyceum node remove gpu-9`"


@pytest.mark.parametrize(
    ("running", "line"),
    [
        (
            "v1.37.0+k3s1",
            "is older than the running v1.37.0+k3s1; Kubernetes cannot be downgraded: restore a snapshot instead",
        ),
        ("v1.34.1+k3s1", "skips a minor version: v1.34.1+k3s1 is running; upgrade to 1.35 first"),
        ("v1.35.1+k3s1", None),
    ],
)
def test_kubernetes_goes_forward_one_minor_at_a_time(site: Site, running: str, line: str | None) -> None:
    assert reported(site, export(site, fixed=immutable_settings(site) | {"k3s": running})) == ([line] if line else [])


def test_the_network_of_pods_stays(site: Site) -> None:
    (line,) = reported(site, export(site, fixed=immutable_settings(site) | {"pods": "10.99.0.0/16"}))
    assert line == "is deployed as 10.99.0.0/16; change it back; a running cluster cannot change it"


@pytest.mark.parametrize("stack", [{}, {"deployment": None}, {"deployment": {"resources": [None, {}]}}])
def test_an_empty_stack_forbids_nothing(site: Site, stack: dict[str, Any]) -> None:
    assert reported(site, stack) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "no json"])
def test_a_file_that_is_no_export_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="pulumi stack export"):
        read_export(text)
