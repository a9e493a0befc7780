"""The backup key: the same from the same seed, and readable by the ssh that uses it."""

import subprocess
from pathlib import Path

from config.backup_keys import fingerprint, private_pem, public_line

SEED, OTHER = "5eed" * 16, "0dd5" * 16


def test_the_same_seed_gives_the_same_key() -> None:
    """Another text would run every machine's script again at every run."""
    assert private_pem(SEED) == private_pem(SEED)
    assert private_pem(SEED) != private_pem(OTHER)
    assert public_line(SEED) != public_line(OTHER)


def test_openssh_reads_the_key_and_finds_the_public_one_in_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(private_pem(SEED))
    file.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True)

    assert done.stdout.split()[:2] == public_line(SEED).split()


def test_a_fingerprint_tells_seeds_apart_and_is_no_part_of_them() -> None:
    assert fingerprint(SEED) != fingerprint(OTHER)
    assert fingerprint(SEED) not in SEED
