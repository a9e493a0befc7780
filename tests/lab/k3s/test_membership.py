"""A server joins etcd once, and is taken up again where it was killed."""

from pathlib import Path

import pytest

from lab.k3s.etcd import EtcdMember
from lab.k3s.membership import MembershipError, initial_cluster, is_member, member_name
from lab.k3s.paths import Paths

FIRST = EtcdMember("1", "cp1-aaaaaaaa", "https://10.0.0.1:2380", "https://10.0.0.1:2379", learner=False)
JOINING = EtcdMember("2", "", "https://10.0.0.2:2380", "", learner=True)
ME = "cp2-bbbbbbbb"
MY_URL = "https://10.0.0.2:2380"


def test_a_new_server_is_to_be_announced() -> None:
    assert not is_member([FIRST], ME, MY_URL)


def test_a_server_killed_after_its_announcement_is_not_announced_again() -> None:
    assert is_member([FIRST, JOINING], ME, MY_URL)


def test_a_server_that_lost_its_data_is_refused_until_its_member_is_removed() -> None:
    old = EtcdMember("2", "cp2-cccccccc", MY_URL, "https://10.0.0.2:2379", learner=False)
    with pytest.raises(MembershipError, match="duplicate node name found"):
        is_member([FIRST, old], ME, MY_URL)


def test_all_members_are_in_the_initial_cluster_also_those_without_name() -> None:
    third = EtcdMember("3", "", "https://10.0.0.3:2380", "", learner=True)
    assert initial_cluster([FIRST, JOINING, third], ME, MY_URL) == (
        f"cp1-aaaaaaaa=https://10.0.0.1:2380,{ME}={MY_URL},joining-3=https://10.0.0.3:2380"
    ), "etcd refuses to start when the list differs from the cluster's"


def test_a_member_keeps_its_name(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.etcd.mkdir(parents=True)
    assert member_name(paths, "cp1") == member_name(paths, "cp1")
    assert member_name(paths, "cp1").startswith("cp1-")
