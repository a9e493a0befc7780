"""The seed in escrow opens with its passphrase alone, tells whose it is without it, and cannot be changed unseen."""

import json

import pytest

from config.key_derivation import seed_fingerprint
from ops.backup.key_escrow import EscrowError, read_escrow, seal_seed, seal_state, unseal_seed, unseal_state

SEED, PASSPHRASE = "5eed" * 16, "correct horse battery"
SEALED = seal_seed(SEED, "arena", "2026-01-01T00:00:00Z", PASSPHRASE)


def test_the_passphrase_gives_the_seed_back() -> None:
    assert unseal_seed(SEALED, PASSPHRASE) == SEED


def test_another_passphrase_does_not() -> None:
    with pytest.raises(EscrowError, match="the passphrase does not open the escrow of arena"):
        unseal_seed(SEALED, "wrong horse battery")


def test_without_it_the_escrow_tells_whose_seed_it_holds_and_not_which() -> None:
    told = read_escrow(SEALED)

    assert (told.site, told.made, told.seed) == ("arena", "2026-01-01T00:00:00Z", seed_fingerprint(SEED))
    assert SEED not in SEALED.decode()
    assert PASSPHRASE not in SEALED.decode()


def test_two_escrows_of_one_seed_have_nothing_in_common_that_helps() -> None:
    again = json.loads(seal_seed(SEED, "arena", "2026-01-01T00:00:00Z", PASSPHRASE))

    assert again["salt"] != json.loads(SEALED)["salt"]
    assert again["sealed"] != json.loads(SEALED)["sealed"]


@pytest.mark.parametrize("part", ["site", "made", "seed"])
def test_what_it_says_cannot_be_changed_unseen(part: str) -> None:
    changed = json.loads(SEALED) | {part: "something else"}
    with pytest.raises(EscrowError, match="or somebody changed it"):
        unseal_seed(json.dumps(changed).encode(), PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"sealed": "AA=="}'])
def test_what_is_no_escrow_is_told(content: bytes) -> None:
    with pytest.raises(EscrowError, match=r"that is (no|an) escrow of"):
        read_escrow(content)


def test_the_engines_state_opens_with_the_seed_of_its_site() -> None:
    sealed = seal_state('{"deployment": {}}', SEED, "arena")

    assert unseal_state(sealed, SEED, "arena") == '{"deployment": {}}'
    assert b"deployment" not in sealed
    for seed, site in (("0ddd" * 16, "arena"), (SEED, "arena-2")):
        with pytest.raises(EscrowError, match="is not of"):
            unseal_state(sealed, seed, site)
