"""How a server becomes a voter of the etcd cluster, and stays one through kills at any moment.

K3s's rules: a member is named `<node>-<8 hex digits>`; it is added as learner and promoted once it has caught up; a
learner that was added but never started is taken up again by the server with its address; a server that lost its
data is refused until its old member was removed (by deleting its Node).
"""

import asyncio
import secrets
from collections.abc import Sequence

from lab.k3s import log
from lab.k3s.etcd import Etcd, EtcdError, EtcdMember
from lab.k3s.paths import Paths


class MembershipError(Exception):
    """This server may not join; the text is K3s's, and says what to do."""


def member_name(paths: Paths, node_name: str) -> str:
    """Return this server's member name, made once and kept in `db/etcd/name`."""
    file = paths.etcd / "name"
    if file.exists():
        return file.read_text().strip()
    name = f"{node_name}-{secrets.token_hex(4)}"
    file.write_text(name)
    return name


def is_member(members: Sequence[EtcdMember], name: str, peer_url: str) -> bool:
    """Return whether this server was announced to the cluster already: by itself, before it was killed.

    Raises `MembershipError` when another member has this node's name.
    """
    node = name.rpartition("-")[0]
    if any(member.name and member.name != name and member.name.rpartition("-")[0] == node for member in members):
        raise MembershipError("duplicate node name found, please use a unique name for this node")
    return any(member.peer_url == peer_url for member in members)


def initial_cluster(members: Sequence[EtcdMember], name: str, peer_url: str) -> str:
    """Return etcd's `initial-cluster`; members that have never started have no name yet and are given one."""
    pairs = [(name if m.peer_url == peer_url else m.name or f"joining-{m.id}", m.peer_url) for m in members]
    return ",".join(f"{member}={url}" for member, url in pairs)


async def add_learner(client: Etcd, name: str, peer_url: str, *, attempts: int = 240) -> str:
    """Add this server as learner unless it was added before; returns etcd's `initial-cluster`."""
    for attempt in range(attempts):
        members = await client.members()
        if is_member(members, name, peer_url):
            return initial_cluster(members, name, peer_url)
        try:
            await client.add_learner(peer_url)
        except EtcdError as error:
            # etcd wants all voters to have been connected for five seconds before it takes another member.
            if attempt == 0:
                log.info(f"Waiting to join the etcd cluster: {error}")
            await asyncio.sleep(0.25)
        else:
            log.info(f"Adding member {name}={peer_url} to etcd cluster")
    raise MembershipError("etcd took no new member for a minute: is one of its members down? remove it first")


async def promote(local: Etcd, paths: Paths, voters: Sequence[str]) -> None:
    """Wait until this server is a voter, asking those that were there before to promote it once it has caught up.

    As a learner, the local etcd answers nothing but its status.
    """
    while (status := await local.status()).get("isLearner"):
        for url in voters:
            if await _try_promote(url, status["header"]["member_id"], paths):
                log.info("Promoted learner to etcd voter")
                break
        await asyncio.sleep(0.2)


async def _try_promote(url: str, member_id: str, paths: Paths) -> bool:
    client = Etcd(url, paths)
    try:
        await client.promote(member_id)
    except EtcdError:
        # Not caught up yet, or not the one to ask.
        return False
    finally:
        await client.close()
    return True
