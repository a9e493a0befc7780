"""Generations of K3s's tokens: derived, never used twice, and kept in the stack's configuration."""

import pytest

from config.key_derivation import derived_text, token_hash
from config.tokens import Generations, GenerationsError, Kind, generation_of, read, token

SEED = "ab" * 32


def test_the_first_generation_is_what_clusters_have_had_all_along() -> None:
    """Another text would lock every existing cluster out of its own snapshots."""
    assert token(SEED, Kind.SERVER, 1) == derived_text(SEED, "k3s-token")
    assert token(SEED, Kind.AGENT, 1) == derived_text(SEED, "k3s-agent-token")


def test_every_generation_of_each_token_is_another_secret() -> None:
    made = {token(SEED, kind, generation) for kind in Kind for generation in range(1, 5)}

    assert len(made) == 8


def test_a_rotation_goes_to_a_generation_that_never_was() -> None:
    """After the restore of an old snapshot, the one that was in use between must not come back: somebody may know it."""
    restored = Generations(newest=3).using(Kind.SERVER, 1)

    assert restored.begun(Kind.SERVER).newest == 4
    assert restored.begun(Kind.SERVER).ended(Kind.SERVER).of(Kind.SERVER) == 4


def test_an_interrupted_rotation_goes_on_to_the_same_generation() -> None:
    begun = Generations().begun(Kind.AGENT)

    assert begun.begun(Kind.AGENT) == begun
    assert begun.of(Kind.AGENT) == 1, "the old one is in use until the end"


def test_the_end_of_a_rotation_leaves_the_other_token_alone() -> None:
    ended = Generations().begun(Kind.AGENT).ended(Kind.AGENT)

    assert (ended.server_token, ended.agent_token, ended.rotating) == (1, 2, None)


def test_what_is_written_is_read_back() -> None:
    state = Generations(server_token=2, newest=3, rotating=Kind.AGENT)

    assert state.written() == {"server-token": 2, "newest": 3, "rotating": "agent-token"}
    assert read(state.written()) == state
    assert read(None) == Generations()
    assert Generations().written() == {}


@pytest.mark.parametrize("wrong", [{"server-token": 0}, {"server": 2}, {"rotating": "seed"}, "2"])
def test_a_setting_that_was_changed_by_hand_names_the_command(wrong: object) -> None:
    with pytest.raises(GenerationsError, match=r"only ./lyceum secrets rotate"):
        read(wrong)


def test_a_hash_finds_its_generation() -> None:
    wanted = token_hash(token(SEED, Kind.SERVER, 2))

    assert generation_of(SEED, Kind.SERVER, 3, wanted) == 2
    assert generation_of(SEED, Kind.SERVER, 1, wanted) is None, "no generation after the newest is guessed"
    assert generation_of("cd" * 32, Kind.SERVER, 3, wanted) is None
