"""Secrets of a lab's stack, to be looked for where they must not be."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from config.key_derivation import derive_password, ssh_private_key_pem
from config.layers import LAYERS
from lab.identity.packages import SECRET
from lab.store import KEYS

PURPOSES = ("k3s-token", "k3s-agent-token", *(purpose for record in LAYERS for purpose in record.derived_secrets))


def of(run: Path) -> dict[str, str]:
    """What each secret is, and its text: the seed, the token, the bucket's keys, and what is derived from the seed."""
    seed = (run / "seed").read_text().strip()
    found = {
        "seed": seed,
        "Proxmox token": (run / "proxmox-token").read_text().strip().partition("=")[2],
        "SSH key": ssh_private_key_pem(seed).splitlines()[1],
        **{name: (run / name).read_text() for name in (*KEYS, SECRET)},
    }
    return found | {purpose: derive_password(seed, purpose) for purpose in PURPOSES}


@contextmanager
def watched_arguments(sentinels: dict[str, str]) -> Iterator[set[str]]:
    """Looks at the arguments of every process of the machine, many times a second; gives what it found, by name."""
    found: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has just ended
                    words = file.read_text(errors="replace")
                    found.update(f"{name} in: {words[:60]}" for name, text in sentinels.items() if text in words)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()
