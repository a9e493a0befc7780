"""Who may fetch etcd snapshots from the servers: one key, from the operators' machines, for nothing else. Pure text."""

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

SNAPSHOTS_SH = (Path(__file__).parent / "snapshots.sh").read_text()
COMMAND = "/usr/local/sbin/lyceum-snapshots"
"""What the key runs on a server, whatever its holder asks for."""
ACCOUNT, HOME = "lyceum-backup", "/var/lib/lyceum-backup"
"""The account on both ends: on a server it has the key and may run the command; at the operators' it keeps the copies."""

COPIES = f"{HOME}/copies"
"""Where the operators' machine keeps the copies, with `status.json`."""
TIMER = "lyceum-backup"
"""Its timer there, and the service that it starts."""


def access_line(addresses: Sequence[IPv4Address], public_key: str) -> str:
    """The key's line of authorized_keys (sshd(8)): only from there, only the command, no terminal and no forwarding."""
    places = ",".join(str(address) for address in addresses)
    return f'restrict,from="{places}",command="{COMMAND}" {public_key} {ACCOUNT}'
