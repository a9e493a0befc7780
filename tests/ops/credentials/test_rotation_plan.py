"""Progress of a token rotation, and its blockers."""

from config.tokens import TokenKind
from ops.credentials.rotation_plan import TokenStatus, is_rotated, rotation_blockers, unfinished_machines

OLD, NEW = "0" * 16, "1" * 16
DONE = TokenStatus(NEW, NEW, due=False, state="active")
UNTOUCHED = TokenStatus(OLD, OLD, due=False, state="active")
TOLD = TokenStatus(NEW, OLD, due=True, state="active")
WELL = {"server-1": True, "server-2": True, "gpu-1": True}


def test_the_output_of_the_status_script_is_parsed() -> None:
    assert TokenStatus.parse(f"{NEW} - kept active\n") == TokenStatus(NEW, "-", due=False, state="active")
    assert TokenStatus.parse(f"{NEW} {OLD} due activating\n") == TokenStatus(NEW, OLD, due=True, state="activating")


def test_a_server_with_a_due_restart_is_not_finished() -> None:
    assert unfinished_machines({"server-1": DONE, "server-2": TOLD, "server-3": UNTOUCHED}, NEW) == [
        "server-2",
        "server-3",
    ]


def test_a_server_without_running_k3s_is_not_finished() -> None:
    """It started with the old token and was rejected: its file has the new one, and it still has to be started."""
    assert unfinished_machines({"server-1": TokenStatus(NEW, NEW, due=False, state="failed")}, NEW) == ["server-1"]


def test_an_agent_is_judged_by_its_due_restart() -> None:
    assert unfinished_machines({"gpu-1": TokenStatus(NEW, "-", due=True, state="active")}, NEW) == ["gpu-1"]
    assert unfinished_machines({"gpu-1": TokenStatus(NEW, "-", due=False, state="active")}, NEW) == []


def test_the_running_token_shows_that_k3s_has_rotated_it() -> None:
    assert is_rotated([TokenStatus(OLD, NEW, due=False, state="active"), UNTOUCHED], NEW)
    assert not is_rotated([UNTOUCHED, TOLD], NEW), "a file that we wrote says nothing about K3s"


def test_a_healthy_cluster_has_no_blockers() -> None:
    assert rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED, "server-2": UNTOUCHED}, OLD, WELL) == []


def test_an_unreachable_machine_is_a_blocker() -> None:
    (found,) = rotation_blockers(TokenKind.AGENT, {"server-1": UNTOUCHED, "gpu-1": None}, OLD, WELL)

    assert found.startswith("gpu-1 does not answer over SSH")


def test_a_token_of_another_seed_is_a_blocker() -> None:
    (found,) = rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED, "server-2": DONE}, OLD, WELL)

    assert "server-2 has another server-token than the stack's configuration" in found


def test_an_unhealthy_node_is_a_blocker() -> None:
    (found,) = rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED}, OLD, WELL | {"server-2": False})

    assert found.startswith("server-2 is not Ready, or a server that is not an etcd voter")


def test_an_unreachable_api_is_a_blocker() -> None:
    assert rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED}, OLD, None) == ["the API does not answer"]
