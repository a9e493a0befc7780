"""One server at a time, and none while another is not well."""

from ops.nodes.rolling_restart import select_servers

THREE = {"server-1": True, "server-2": True, "server-3": True}
FIVE = THREE | {"server-4": True, "server-5": True}


def test_the_first_that_is_due_goes_alone() -> None:
    assert select_servers(["server-2", "server-3"], THREE).names == ("server-2",)


def test_one_that_is_not_well_comes_first() -> None:
    """It may be what the restart is for."""
    assert select_servers(["server-1", "server-3"], THREE | {"server-3": False}).names == ("server-3",)


def test_none_goes_while_another_is_not_well() -> None:
    found = select_servers(["server-1", "server-2"], THREE | {"server-3": False})

    assert found.names == ()
    assert "server-1 is not restarted while server-3 is not Ready and a voter" in found.blocker


def test_of_two_that_are_not_well_none_goes_while_the_api_still_answers() -> None:
    """Five servers, two of them down: one more and the majority is gone."""
    found = select_servers(["server-1", "server-4"], FIVE | {"server-4": False, "server-5": False})

    assert "server-5" in found.blocker


def test_nobody_waits_for_a_server_that_is_lost() -> None:
    health = THREE | {"server-3": False}

    assert select_servers(["server-1", "server-2"], health, frozenset({"server-3"})).names == ("server-1",)


def test_without_an_api_all_that_are_due_go_together() -> None:
    """There is no majority that could be lost, and etcd gets one only when most of them come up."""
    assert select_servers(["server-1", "server-2", "server-3"], None).names == ("server-1", "server-2", "server-3")


def test_where_none_is_due_nothing_happens() -> None:
    assert select_servers([], THREE) == select_servers([], None)
