"""Access to etcd snapshots on the servers: one key, from the maintenance machines, that may do nothing else."""

from __future__ import annotations  # pulumi is imported for the type checker only: the command line starts without it

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Self

from config.key_derivation import seed_fingerprint, snapshot_private_key_pem, snapshot_public_key_line

if TYPE_CHECKING:
    import pulumi

SNAPSHOTS_SH = (Path(__file__).parent / "snapshots.sh").read_text()
COMMAND = "/usr/local/sbin/lyceum-snapshots"
"""The only command that the key may run on a server (sshd's forced command)."""
ACCOUNT, HOME = "lyceum-backup", "/var/lib/lyceum-backup"
"""The account on both ends: on a server the key logs in to it; on the maintenance machine it owns the copies."""

COPIES = f"{HOME}/copies"
"""Directory of the copies on the maintenance machine, with `status.json`."""
TIMER = "lyceum-backup"
"""Name of the timer there, and of the service that it starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotAccess:
    """What a maintenance machine needs to fetch snapshots and to describe its copies.

    Attributes:
        private_key: Key that may list and fetch snapshots, PEM, secret.
        public_key: Its public half, as authorized_keys has it.
        seed_fingerprint: Fingerprint of the seed from which the snapshots' token is derived.
        stack: Name of the stack.
    """

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]
    seed_fingerprint: pulumi.Output[str]
    stack: str

    @classmethod
    def from_seed(cls, seed: pulumi.Output[str], stack: str) -> Self:
        """Derives everything from the stack's seed."""
        return cls(
            private_key=seed.apply(snapshot_private_key_pem),
            public_key=seed.apply(snapshot_public_key_line),
            seed_fingerprint=seed.apply(seed_fingerprint),
            stack=stack,
        )


def authorized_keys_line(addresses: Sequence[IPv4Address], public_key: str) -> str:
    """The key's line of authorized_keys (sshd(8)): from these addresses only, forced command, no terminal, no forwarding."""
    sources = ",".join(str(address) for address in addresses)
    return f'restrict,from="{sources}",command="{COMMAND}" {public_key} {ACCOUNT}'
