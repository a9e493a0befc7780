"""An escrow is decrypted only by its passphrase, names its site without it, and any change of it is detected."""

import json

import pytest

from config.key_derivation import seed_fingerprint
from ops.backup.key_escrow import EscrowError, read_escrow, seal_seed, seal_state, unseal_seed, unseal_state

SEED, PASSPHRASE = "5eed" * 16, "correct horse battery"
SEALED = seal_seed(SEED, "arena", "2026-01-01T00:00:00Z", PASSPHRASE)


def test_the_passphrase_decrypts_the_seed() -> None:
    assert unseal_seed(SEALED, PASSPHRASE) == SEED


def test_another_passphrase_is_refused() -> None:
    with pytest.raises(EscrowError, match="the passphrase does not decrypt the escrow of arena"):
        unseal_seed(SEALED, "wrong horse battery")


def test_the_readable_part_names_the_site_and_never_the_seed() -> None:
    reported = read_escrow(SEALED)

    assert (reported.site, reported.made, reported.seed) == ("arena", "2026-01-01T00:00:00Z", seed_fingerprint(SEED))
    assert SEED not in SEALED.decode()
    assert PASSPHRASE not in SEALED.decode()


def test_two_escrows_of_one_seed_share_no_salt_and_no_ciphertext() -> None:
    again = json.loads(seal_seed(SEED, "arena", "2026-01-01T00:00:00Z", PASSPHRASE))

    assert again["salt"] != json.loads(SEALED)["salt"]
    assert again["sealed"] != json.loads(SEALED)["sealed"]


@pytest.mark.parametrize("part", ["site", "made", "seed"])
def test_a_change_of_the_readable_part_is_detected(part: str) -> None:
    changed = json.loads(SEALED) | {part: "something else"}
    with pytest.raises(EscrowError, match="or the escrow was changed"):
        unseal_seed(json.dumps(changed).encode(), PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"sealed": "AA=="}'])
def test_content_that_is_not_an_escrow_is_refused(content: bytes) -> None:
    with pytest.raises(EscrowError, match=r"not an escrow of Lyceum|the escrow has the format"):
        read_escrow(content)


def test_the_engines_state_is_decrypted_by_the_seed_of_its_site_only() -> None:
    sealed = seal_state('{"deployment": {}}', SEED, "arena")

    assert unseal_state(sealed, SEED, "arena") == '{"deployment": {}}'
    assert b"deployment" not in sealed
    for seed, site in (("0ddd" * 16, "arena"), (SEED, "arena-2")):
        with pytest.raises(EscrowError, match="belongs to another site or seed"):
            unseal_state(sealed, seed, site)
