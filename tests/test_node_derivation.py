"""Names and numbers that follow from a site file: whatever is written there, no two machines share one, and none moves."""

import re
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.base import MAX_RANGE, Model, Size, broadcast, expand_range, format_size
from config.site import STAGES, VMID_BASE, derive_mac
from tests.support.sites import SMALL, site

LABELS = st.from_regex(r"[a-z]{1,8}-?", fullmatch=True)
RANGES = st.tuples(st.integers(0, 9999), st.integers(0, 200)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(LABELS, RANGES, LABELS)
def test_a_pattern_stands_for_as_many_names_as_it_says(head: str, ends: tuple[int, int], tail: str) -> None:
    low, high = ends
    names = expand_range(f"{head}[{low}-{high}]{tail}")

    assert len(names) == len(set(names)) == high - low + 1
    assert (names[0], names[-1]) == (f"{head}{low}{tail}", f"{head}{high}{tail}")


@given(st.integers(1, 99), st.integers(0, 99))
def test_zeros_in_front_are_kept_and_give_names_of_one_length(low: int, more: int) -> None:
    """`ws-01` and `ws-40` sort as people expect."""
    names = expand_range(f"ws-[{low:03d}-{low + more:03d}]")

    assert {len(name) for name in names} == {len("ws-000")}
    assert names == sorted(names)


@given(LABELS)
def test_a_name_without_a_range_stands_for_itself(name: str) -> None:
    assert expand_range(name) == [name]


@given(RANGES)
def test_a_reversed_range_is_refused_in_plain_words(ends: tuple[int, int]) -> None:
    low, high = ends
    with pytest.raises(ValueError, match=f"{low} comes before {high + 1}"):
        expand_range(f"ws-[{high + 1}-{low}]")


def test_a_range_without_an_end_in_sight_is_a_typing_error() -> None:
    assert len(expand_range(f"ws-[1-{MAX_RANGE}]")) == MAX_RANGE
    with pytest.raises(ValueError, match=str(MAX_RANGE)):
        expand_range(f"ws-[1-{MAX_RANGE + 1}]")


@given(st.integers(1, 50), st.integers(2, 50))
def test_a_pattern_of_another_length_is_refused(count: int, length: int) -> None:
    if length == count:
        assert len(broadcast(f"10.0.0.[1-{length}]", count, "address")) == count
    else:
        with pytest.raises(ValueError, match=rf"address .*{length} .*{count}"):
            broadcast(f"10.0.0.[1-{length}]", count, "address")


@given(st.integers(1, 4 * 1024 * 1024))
def test_a_size_is_read_as_it_is_written(mib: int) -> None:
    class Holder(Model):
        size: Size

    assert Holder.model_validate({"size": format_size(mib)}).size == mib


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_a_derived_mac_is_ours_and_carries_the_address(address: IPv4Address) -> None:
    mac = derive_mac(address)
    octets = [int(octet, 16) for octet in mac.split(":")]

    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac)
    assert octets[0] & 0b11 == 0b10, "locally administered, and of one machine"
    assert bytes(octets[2:]) == address.packed, "two addresses never share one"


@given(st.lists(st.integers(1, 65_534), min_size=1, max_size=20, unique=True))
def test_derived_vm_ids_are_unique_and_follow_the_address(hosts: list[int]) -> None:
    nodes = [
        {
            "name": f"n-{index}",
            "role": "worker",
            "host": "pve1",
            "shape": "gpu",
            "address": f"10.9.{host >> 8}.{host & 255}",
        }
        for index, host in enumerate(hosts)
    ]

    assert [node.vm_id for node in site({"nodes": nodes}).machines] == [VMID_BASE + host for host in hosts]


@given(st.integers(1, 12), st.permutations(range(3)))
def test_another_machine_in_the_file_moves_no_machine_that_exists(count: int, order: list[int]) -> None:
    """What is deployed would be destroyed and created again."""
    more = {
        "name": f"new-[1-{count}]",
        "role": "worker",
        "host": "pve3",
        "shape": "gpu",
        "address": f"10.9.1.[1-{count}]",
    }
    groups = [*SMALL["nodes"], more]
    before = {node.name: node for node in site().machines}
    after = {node.name: node for node in site({"nodes": [groups[index] for index in order]}).machines}

    assert {name: after[name] for name in before} == before


@given(st.integers(1, 30))
def test_a_later_stage_holds_every_machine_of_the_one_before(count: int) -> None:
    workers = {
        "name": f"gpu-[1-{count}]",
        "role": "worker",
        "host": "pve1",
        "shape": "gpu",
        "address": f"10.9.1.[1-{count}]",
    }
    campus = site({"nodes": [SMALL["nodes"][0], workers]})
    names = [[node.name for node in campus.in_service(stage)] for stage in STAGES]

    assert all(set(less) <= set(more) for less, more in pairwise(names))
    assert len(names[0]) == 3 + min(count, 2)
    assert len(names[-1]) == 3 + count
