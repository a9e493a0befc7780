"""The backup key: the same from the same seed, and readable by the ssh that uses it."""

import subprocess
from pathlib import Path

from config.key_derivation import seed_fingerprint, snapshot_private_key_pem, snapshot_public_key_line

SEED, OTHER = "5eed" * 16, "0dd5" * 16


def test_the_same_seed_gives_the_same_key() -> None:
    """Another text would run every machine's script again at every run."""
    assert snapshot_private_key_pem(SEED) == snapshot_private_key_pem(SEED)
    assert snapshot_private_key_pem(SEED) != snapshot_private_key_pem(OTHER)
    assert snapshot_public_key_line(SEED) != snapshot_public_key_line(OTHER)


def test_openssh_reads_the_key_and_finds_the_public_one_in_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(snapshot_private_key_pem(SEED))
    file.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True)

    assert done.stdout.split()[:2] == snapshot_public_key_line(SEED).split()


def test_a_fingerprint_tells_seeds_apart_and_is_no_part_of_them() -> None:
    assert seed_fingerprint(SEED) != seed_fingerprint(OTHER)
    assert seed_fingerprint(SEED) not in SEED
