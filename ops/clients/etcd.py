"""Reads and defragments etcd on the servers, over SSH and etcd's JSON gateway (fault Q5).

A full etcd (alarm NOSPACE) accepts no writes, and its own compaction is a write: history has to be compacted and the files
defragmented by hand. The gateway needs only curl: K3s serves it on port 2382 of localhost (k3s, pkg/etcd,
listenClientHTTPURLs), the lab on 2379.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from config.base import MIB
from config.hosts import Role
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.engine.engine import Engine

CERTIFICATE_DIR = "/var/lib/rancher/k3s/server/tls/etcd"
DEFAULT_QUOTA = 2 * 1024**3
"""Bytes; etcd's own default."""
NEARLY_FULL = 0.8
"""Share of the quota from which a warning is given."""


@dataclass(frozen=True)
class EtcdMember:
    """The etcd member on one server.

    Attributes:
        server: Name of the server.
        size: Bytes of its database file.
        used: Bytes of the file that are in use; defragmentation frees the rest.
        quota: Bytes that the file may grow to.
        revision: The newest revision of the store.
        is_leader: Whether it is the leader.
        alarms: Alarms of the cluster: member ID -> `NOSPACE` or `CORRUPT`.
    """

    server: str
    size: int
    used: int
    quota: int
    revision: int
    is_leader: bool
    alarms: Mapping[str, str]

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if "CORRUPT" in self.alarms.values():
            return "the data of etcd's members differs (alarm CORRUPT): ./lyceum node replace the server that K3s's log names"
        if "NOSPACE" in self.alarms.values():
            return f"etcd is full (alarm NOSPACE, {self._fill}): no writes are accepted"
        return f"etcd is nearly full on {self.server} ({self._fill})" if self.size > NEARLY_FULL * self.quota else ""

    @property
    def _fill(self) -> str:
        return f"{self.size / MIB:.0f} of {self.quota / MIB:.0f} MiB"


def etcd_script(calls: str, seconds: int = 60) -> str:
    """A script that calls etcd on a server: `etcd PATH JSON` prints the response on one line.

    Args:
        calls: The calls.
        seconds: How long to wait for etcd: while it is full, K3s restarts again and again, and etcd with it.
    """
    return f"""set -euo pipefail
cd {CERTIFICATE_DIR}
etcd() {{
    local said
    said=$(curl --silent --show-error --fail-with-body --max-time 120 --cacert server-ca.crt --cert client.crt \\
        --key client.key --data "$2" "https://127.0.0.1:$port/v3/$1") || {{ echo "etcd refuses $1: $said" >&2; return 1; }}
    echo "$said"
}}
answers() {{
    for port in 2382 2379; do ! etcd maintenance/status '{{}}' >/dev/null 2>&1 || return 0; done
    return 1
}}
for ((second = 0; second < {seconds}; second++)); do ! answers || break; sleep 1; done
{calls}"""


STATUS_SCRIPT = etcd_script("etcd maintenance/status '{}'\netcd maintenance/alarm '{\"action\": \"GET\"}'\n", seconds=5)
DEFRAGMENT_SCRIPT = etcd_script("etcd maintenance/defragment '{}'\n")


def compact_script(revision: int) -> str:
    """Compacts the history before a revision; succeeds if that is done already."""
    call = f"""etcd kv/compaction '{{"revision": "{revision}", "physical": true}}'"""
    return etcd_script(
        f'said=$({call} 2>&1) || [[ $said == *"has been compacted"* ]] || {{ echo "$said" >&2; exit 1; }}\n'
    )


def disarm_script(alarms: Mapping[str, str]) -> str:
    """Disarms alarms."""
    bodies = [json.dumps({"action": "DEACTIVATE", "memberID": one, "alarm": kind}) for one, kind in alarms.items()]
    return etcd_script("".join(f"etcd maintenance/alarm '{body}'\n" for body in bodies))


def parse_member(server: str, text: str) -> EtcdMember:
    """Parses the output of `STATUS_SCRIPT`."""
    status, alarms = (json.loads(line) for line in text.strip().splitlines())
    size = int(status.get("dbSize", 0))
    return EtcdMember(
        server=server,
        size=size,
        used=int(status.get("dbSizeInUse", size)),
        quota=int(status.get("dbSizeQuota") or DEFAULT_QUOTA),
        revision=int(status["header"].get("revision", 0)),
        is_leader=status["header"]["member_id"] == status.get("leader"),
        alarms={entry.get("memberID", "0"): entry["alarm"] for entry in alarms.get("alarms") or []},
    )


def read_members(servers: Mapping[str, Remote]) -> dict[str, EtcdMember | str]:
    """Reads the member on every server, by name; a text has the reason why one does not answer."""

    def read(remote: Remote) -> EtcdMember | str:
        try:
            return parse_member(remote.name, remote.run(STATUS_SCRIPT))
        except RemoteError as error:
            return str(error)

    with ThreadPoolExecutor(8) as workers:
        return dict(zip(servers, workers.map(read, servers.values()), strict=True))


def connect_servers(engine: Engine) -> dict[str, Remote]:
    """The servers of a stack, by name."""
    return remotes(engine, tuple(node for node in engine.stack.nodes if node.role is Role.SERVER))


def find_problem(engine: Engine) -> str:
    """What is wrong with etcd, and the remedy; empty if nothing is, or if no member answers."""
    for found in read_members(connect_servers(engine)).values():
        if isinstance(found, EtcdMember) and found.problem:
            return f"{found.problem}. Remedy: ./lyceum etcd defragment {engine.stack.name}"
    return ""
