"""Generations of K3s's tokens: derived, never used twice, and kept in the stack's configuration."""

import pytest

from config.key_derivation import derive_password, token_hash
from config.tokens import (
    TokenGenerations,
    TokenGenerationsError,
    TokenKind,
    derive_token,
    find_generation,
    read_generations,
)

SEED = "ab" * 32


def test_the_first_generation_is_what_clusters_have_had_all_along() -> None:
    """Another text would lock every existing cluster out of its own snapshots."""
    assert derive_token(SEED, TokenKind.SERVER, 1) == derive_password(SEED, "k3s-token")
    assert derive_token(SEED, TokenKind.AGENT, 1) == derive_password(SEED, "k3s-agent-token")


def test_every_generation_of_each_token_is_another_secret() -> None:
    made = {derive_token(SEED, kind, generation) for kind in TokenKind for generation in range(1, 5)}

    assert len(made) == 8


def test_a_rotation_goes_to_a_generation_that_never_was() -> None:
    """After the restore of an old snapshot, the one that was in use between must not come back: somebody may know it."""
    restored = TokenGenerations(newest=3).with_generation(TokenKind.SERVER, 1)

    assert restored.start_rotation(TokenKind.SERVER).newest == 4
    assert restored.start_rotation(TokenKind.SERVER).finish_rotation(TokenKind.SERVER).current(TokenKind.SERVER) == 4


def test_an_interrupted_rotation_goes_on_to_the_same_generation() -> None:
    begun = TokenGenerations().start_rotation(TokenKind.AGENT)

    assert begun.start_rotation(TokenKind.AGENT) == begun
    assert begun.current(TokenKind.AGENT) == 1, "the old one is in use until the end"


def test_the_end_of_a_rotation_leaves_the_other_token_alone() -> None:
    ended = TokenGenerations().start_rotation(TokenKind.AGENT).finish_rotation(TokenKind.AGENT)

    assert (ended.server_token, ended.agent_token, ended.rotating) == (1, 2, None)


def test_what_is_written_is_read_back() -> None:
    state = TokenGenerations(server_token=2, newest=3, rotating=TokenKind.AGENT)

    assert state.as_setting() == {"server-token": 2, "newest": 3, "rotating": "agent-token"}
    assert read_generations(state.as_setting()) == state
    assert read_generations(None) == TokenGenerations()
    assert TokenGenerations().as_setting() == {}


@pytest.mark.parametrize("wrong", [{"server-token": 0}, {"server": 2}, {"rotating": "seed"}, "2"])
def test_a_setting_that_was_changed_by_hand_names_the_command(wrong: object) -> None:
    with pytest.raises(TokenGenerationsError, match=r"only ./lyceum secrets rotate"):
        read_generations(wrong)


def test_a_hash_finds_its_generation() -> None:
    wanted = token_hash(derive_token(SEED, TokenKind.SERVER, 2))

    assert find_generation(SEED, TokenKind.SERVER, 3, wanted) == 2
    assert find_generation(SEED, TokenKind.SERVER, 1, wanted) is None, "no generation after the newest is guessed"
    assert find_generation("cd" * 32, TokenKind.SERVER, 3, wanted) is None
