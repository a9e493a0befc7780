"""How far the change of a token came, and why it must not begin."""

from config.tokens import TokenKind
from ops.credentials.rotation_plan import TokenStatus, is_rotated, rotation_blockers, unfinished_machines

OLD, NEW = "0" * 16, "1" * 16
DONE = TokenStatus(NEW, NEW, due=False, state="active")
UNTOUCHED = TokenStatus(OLD, OLD, due=False, state="active")
TOLD = TokenStatus(NEW, OLD, due=True, state="active")
WELL = {"server-1": True, "server-2": True, "gpu-1": True}


def test_what_a_machine_prints_is_read() -> None:
    assert TokenStatus.parse(f"{NEW} - kept active\n") == TokenStatus(NEW, "-", due=False, state="active")
    assert TokenStatus.parse(f"{NEW} {OLD} due activating\n") == TokenStatus(NEW, OLD, due=True, state="activating")


def test_a_server_that_was_told_and_not_restarted_is_not_finished() -> None:
    assert unfinished_machines({"server-1": DONE, "server-2": TOLD, "server-3": UNTOUCHED}, NEW) == [
        "server-2",
        "server-3",
    ]


def test_a_server_whose_k3s_does_not_run_is_not_finished() -> None:
    """Shut out by a start with the old token: the right one is in its file, and it still has to be started."""
    assert unfinished_machines({"server-1": TokenStatus(NEW, NEW, due=False, state="failed")}, NEW) == ["server-1"]


def test_an_agent_keeps_no_record_but_the_note_of_a_restart() -> None:
    assert unfinished_machines({"gpu-1": TokenStatus(NEW, "-", due=True, state="active")}, NEW) == ["gpu-1"]
    assert unfinished_machines({"gpu-1": TokenStatus(NEW, "-", due=False, state="active")}, NEW) == []


def test_the_server_that_changed_the_token_says_so_though_its_file_has_the_old_one() -> None:
    assert is_rotated([TokenStatus(OLD, NEW, due=False, state="active"), UNTOUCHED], NEW)
    assert not is_rotated([UNTOUCHED, TOLD], NEW), "a file that we wrote says nothing about K3s"


def test_nothing_speaks_against_it_where_all_are_well() -> None:
    assert rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED, "server-2": UNTOUCHED}, OLD, WELL) == []


def test_a_machine_that_cannot_be_told_stops_it() -> None:
    (found,) = rotation_blockers(TokenKind.AGENT, {"server-1": UNTOUCHED, "gpu-1": None}, OLD, WELL)

    assert found.startswith("gpu-1 does not answer over SSH")


def test_a_token_that_is_not_the_stacks_stops_it() -> None:
    (found,) = rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED, "server-2": DONE}, OLD, WELL)

    assert "server-2 has another server-token than the stack's configuration gives" in found


def test_an_unwell_node_stops_it() -> None:
    (found,) = rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED}, OLD, WELL | {"server-2": False})

    assert found.startswith("server-2 is not Ready, or a server without a vote")


def test_an_api_that_is_silent_stops_it() -> None:
    assert rotation_blockers(TokenKind.SERVER, {"server-1": UNTOUCHED}, OLD, None) == ["the API does not answer"]
