"""K3s is restarted on one server at a time, and on none while another is unhealthy."""

from ops.nodes.rolling_restart import select_servers

THREE = {"server-1": True, "server-2": True, "server-3": True}
FIVE = THREE | {"server-4": True, "server-5": True}


def test_the_first_server_that_is_due_is_selected_alone() -> None:
    assert select_servers(["server-2", "server-3"], THREE).names == ("server-2",)


def test_an_unhealthy_server_comes_first() -> None:
    """The restart may be what repairs it."""
    assert select_servers(["server-1", "server-3"], THREE | {"server-3": False}).names == ("server-3",)


def test_no_server_is_selected_while_another_is_unhealthy() -> None:
    selection = select_servers(["server-1", "server-2"], THREE | {"server-3": False})

    assert selection.names == ()
    assert "server-1 is not restarted while server-3 is not a Ready, voting member" in selection.blocker


def test_with_two_unhealthy_servers_none_is_selected_while_the_api_answers() -> None:
    """Five servers, two of them down: with one more, quorum is lost."""
    selection = select_servers(["server-1", "server-4"], FIVE | {"server-4": False, "server-5": False})

    assert "server-5" in selection.blocker


def test_a_lost_server_is_not_waited_for() -> None:
    health = THREE | {"server-3": False}

    assert select_servers(["server-1", "server-2"], health, frozenset({"server-3"})).names == ("server-1",)


def test_without_the_api_all_servers_that_are_due_are_selected_together() -> None:
    """There is no quorum to lose, and etcd gains it only when most members are up."""
    assert select_servers(["server-1", "server-2", "server-3"], None).names == ("server-1", "server-2", "server-3")


def test_when_no_server_is_due_none_is_selected() -> None:
    assert select_servers([], THREE) == select_servers([], None)
