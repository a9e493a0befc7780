"""No input crashes the check, and no site that it accepts has a collision."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.hosts import Shift
from config.site import Site
from config.validate import locate_findings, validate_document
from config.yaml_source import Document, UnreadableFileError, parse_document

CAMPUS = (Path(__file__).parent / "campus.yaml").read_text()
SOUND = parse_document(CAMPUS)
PLACES = sorted(SOUND.lines, key=str)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["10.50.0.31", "gpu-[1-3]", "64 GiB", "a[9-1]", "[1-999]", "10.50.0.0/16", "0000:41:00.0", "whole"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def replaced(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """A copy of the data with another value at a place."""
    if not place:
        return value
    key, rest = place[0], place[1:]
    if isinstance(data, list):
        return [replaced(item, rest, value) if index == key else item for index, item in enumerate(data)]
    if isinstance(data, dict):
        return {name: replaced(item, rest, value) if name == key else item for name, item in data.items()}
    return data


def reported(data: dict[str, Any]) -> list[str]:
    document = Document(data, SOUND.lines)
    _, findings = validate_document(document)
    return [str(finding) for finding in locate_findings(Path("campus.yaml"), document, findings)]


@relaxed
@given(st.sampled_from(PLACES), values)
def test_no_value_anywhere_in_a_site_crashes_the_check(place: tuple[str | int, ...], value: Any) -> None:
    lines = reported(replaced(SOUND.data, place, value))
    assert all("\n" not in line for line in lines), "one mistake, one line"


@relaxed
@given(st.dictionaries(st.sampled_from([*Site.model_fields, "k-3-s", "ca-file"]), values, max_size=6))
def test_no_mapping_crashes_the_check(data: dict[str, Any]) -> None:
    assert reported(data), "a site without most of its sections cannot be accepted"


@relaxed
@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"\n \t,0?%@`<."), max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    try:
        parse_document(text)
    except UnreadableFileError:
        return


@relaxed
@given(st.binary(max_size=40))
def test_no_file_crashes_the_reader(content: bytes) -> None:
    try:
        parse_document(content.decode("latin-1"))
    except UnreadableFileError:
        return


@st.composite
def campuses(draw: st.DrawFn) -> dict[str, Any]:
    """Small campuses whose addresses, numbers and cards come from pools so small that many of them collide."""
    address = st.integers(1, 120).map(lambda n: f"10.9.0.{n}")
    hosts = [
        {
            "name": f"pve-{n}",
            "cpus": 64,
            "memory": "256 GiB",
            "address": draw(address),
            "gpus": [
                {"model": "rtx-4090", "pci": f"0000:0{slot}:00.0", "iommu-group": slot}
                for slot in draw(st.sampled_from([(1, 2), (1, 2), (1, 2), (1, 1)]))
            ],
        }
        for n in range(draw(st.integers(1, 2)))
    ]
    nodes = []
    for n in range(draw(st.integers(2, 4))):
        host = draw(st.sampled_from(hosts))
        node: dict[str, Any] = {
            "name": draw(st.sampled_from([*[f"node-{n}"] * 9, "node-1", "pve-0"])),
            "role": "server" if n == 0 else "worker",
            "host": host["name"],
            "shape": "all",
            "address": draw(address),
        }
        if n:
            node["gpus"] = draw(st.lists(st.integers(0, 1), max_size=2, unique=True))
            node["shift"] = draw(st.sampled_from(["always", "owners", "cluster"]))
        if draw(st.booleans()):
            node["vm-id"] = draw(st.integers(100, 120))
        if draw(st.booleans()):
            node["mac"] = f"02:00:00:00:00:{draw(st.integers(10, 40))}"
        nodes.append(node)
    first = draw(st.integers(1, 250))
    return {
        "name": "small",
        "title": "Small",
        "domain": "small.campus.edu",
        "proxmox": {"endpoint": "https://pve.campus.edu:8006/", "image": {"url": "https://campus.edu/image.qcow2"}},
        "network": {
            "cidr": "10.9.0.0/24",
            "gateway": draw(address),
            "dns": ["10.8.0.1"],
            "api-address": draw(address),
            "load-balancers": f"10.9.0.{first}-10.9.0.{first + draw(st.integers(0, 2))}",
        },
        "shapes": {"all": {"cores": 4, "memory": "8 GiB", "disk": "20 GiB"}},
        "hosts": hosts,
        "nodes": nodes,
        "calendar": {
            "time-zone": "UTC",
            "periods": [{"name": "night", "days": "mon-sun", "start": "20:00", "end": "08:00", "use": "cluster"}],
        },
        "platform": {"storage": {"ceph": {"enabled": False}, "nfs": {"server": "nfs", "share": "/homes"}}},
        "workspaces": {"jupyterhub": {"enabled": False}},
    }


@settings(relaxed, max_examples=600)
@given(campuses())
def test_no_accepted_site_has_a_collision(data: dict[str, Any]) -> None:
    site, findings = validate_document(Document(data, {}))
    if site is None or findings:
        return
    machines, network = site.machines, site.network
    taken = [network.gateway, network.api_address, *(host.address for host in site.hosts_by_name.values())]
    taken += [node.address for node in machines]
    assert len(taken) == len(set(taken)), "an address belongs to one"
    assert not [address for address in taken if address and address in network.load_balancers], "MetalLB's are its own"
    for numbers in ([node.vm_id for node in machines], [node.mac for node in machines]):
        assert len(numbers) == len(set(numbers)), "VMIDs and MAC addresses belong to one"
    names = [*site.hosts_by_name, *(node.name for node in machines)]
    assert len(names) == len(set(names)), "a name belongs to one machine"
    for one, two in combinations(machines, 2):
        shared = {gpu.pci for gpu in one.gpus} & {gpu.pci for gpu in two.gpus} if one.host == two.host else set()
        assert not shared or {one.shift, two.shift} == {Shift.OWNERS, Shift.CLUSTER}, "a card belongs to one at a time"


edits = st.lists(
    st.tuples(
        st.integers(0, len(CAMPUS) - 1),
        st.integers(0, 12),
        st.text(alphabet=":-[]{}#&*!|>'\"\n \t,0?%@`<.a1", max_size=3),
    ),
    min_size=1,
    max_size=4,
)


def survives(changes: list[tuple[int, int, str]]) -> None:
    """A slip of the pen anywhere in the file ends in sentences, never in a traceback."""
    text = CAMPUS
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]
    try:
        document = parse_document(text)
    except UnreadableFileError:
        return
    _, findings = validate_document(document)
    assert all("\n" not in str(finding) for finding in locate_findings(Path("campus.yaml"), document, findings))


@settings(relaxed, max_examples=100)
@given(edits)
def test_no_slip_of_the_pen_crashes_the_check(changes: list[tuple[int, int, str]]) -> None:
    survives(changes)


@pytest.mark.strict
@settings(relaxed, max_examples=5000)
@given(edits)
def test_no_slip_of_the_pen_crashes_the_check_in_five_thousand(changes: list[tuple[int, int, str]]) -> None:
    survives(changes)
