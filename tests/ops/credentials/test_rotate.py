"""A rotation that is interrupted at every step, or during which servers start by themselves, is finished by the next one.

The machines are a model of K3s's rules: a server that starts with another token than the cluster's bootstrap data is shut out,
and so is one whose own list of tokens is newer than the cluster's copy (lab/k3s has the same rules on real etcd).
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.cluster.bootstrap import NODE_SH
from config.errors import LyceumError
from config.hosts import Role
from config.key_derivation import token_hash
from config.tokens import TokenGenerations, TokenKind, derive_token
from ops.clients.ssh import Remote, RemoteError
from ops.credentials.rotate import Rotation
from ops.engine.engine import Engine
from ops.nodes.rolling_restart import RollingRestart
from tests.ops.objects import node
from tests.support.sites import site

SEED = "ab" * 32
SITE = site()
SERVERS = tuple(one for one in SITE.machines if one.role is Role.SERVER)
AGENTS = tuple(one for one in SITE.machines if one.role is Role.WORKER)
OLD = {kind: derive_token(SEED, kind, 1) for kind in TokenKind}
NEW = {kind: derive_token(SEED, kind, 2) for kind in TokenKind}


class KilledError(Exception):
    """The command is killed here."""


@dataclass
class Cluster:
    """Bootstrap data, and who may be restarted.

    Attributes:
        saved: The cluster's copy of the tokens; the server token encrypts it.
        steps: How many scripts have run.
        kill_at: Before which one the command is killed, or after it.
        down: The most servers that were down at once while the API was there.
    """

    saved: dict[TokenKind, str] = field(default_factory=lambda: dict(OLD))
    steps: int = 0
    kill_at: int = -1
    afterwards: bool = False
    down: int = 0
    members: list["Member"] = field(default_factory=list)

    @property
    def servers(self) -> list["Member"]:
        return [one for one in self.members if one.role is Role.SERVER]

    @property
    def answers(self) -> bool:
        return sum(one.running for one in self.servers) > len(self.servers) // 2


@dataclass
class Member:
    """One machine, as `Remote` is used.

    Attributes:
        files: The tokens that K3s will start with.
        passwd: K3s's own list of tokens.
        newer: Whether that list was changed after the cluster's copy was saved.
        own: The tokens that K3s says it runs with.
        due: The note of a restart.
    """

    name: str
    role: Role
    cluster: Cluster
    files: dict[TokenKind, str] = field(default_factory=lambda: dict(OLD))
    passwd: dict[TokenKind, str] | None = field(default_factory=lambda: dict(OLD))
    newer: bool = False
    own: dict[TokenKind, str] = field(default_factory=lambda: dict(OLD))
    due: bool = False
    running: bool = True
    address: str = ""

    def run(self, script: str, *, seconds: float = 0) -> str:
        """What the scripts of ops/credentials/rotation_scripts.py do, recognised by their calls."""
        assert NODE_SH in script
        cluster = self.cluster
        killed, cluster.steps = cluster.steps == cluster.kill_at, cluster.steps + 1
        if killed and not cluster.afterwards:
            raise KilledError
        answer = self._do(script.replace(NODE_SH, ""))
        if killed:
            raise KilledError
        return answer

    def _do(self, calls: str) -> str:
        if "print_of" in calls:
            kind = TokenKind.AGENT if "agent-token" in calls or self.role is not Role.SERVER else TokenKind.SERVER
            running = token_hash(self.own[kind]) if self.role is Role.SERVER else "-"
            state = "active" if self.running else "failed"
            return f"{token_hash(self.files[kind])} {running} {'due' if self.due else 'kept'} {state}"
        if "k3s token rotate" in calls:
            return self._rotate(shlex.split(calls.split("--new-token ")[1].split(" >&2", maxsplit=1)[0])[0])
        if "put 0600" in calls:
            kind = TokenKind.AGENT if "agent-token" in calls or self.role is not Role.SERVER else TokenKind.SERVER
            new = calls.split('true)"')[1].split("\n", maxsplit=1)[0]
            self.due = self.due or self.files[kind] != new
            self.files[kind] = new
            return ""
        assert "service k3s" in calls
        if self.due or not self.running:
            if "rm -f" in calls:
                self.passwd = None
            self.start()
        if not self.running:
            raise RemoteError(f"{self.name}: k3s did not start")
        return ""

    def _rotate(self, new: str) -> str:
        if not self.running or not self.cluster.answers:
            raise RemoteError(f"{self.name}: the API does not answer")
        assert self.passwd is not None
        self.passwd[TokenKind.SERVER] = self.own[TokenKind.SERVER] = new
        self.cluster.saved = dict(self.passwd)
        return ""

    def start(self) -> None:
        """K3s starts: restarted by the rotation, or by itself."""
        saved = self.cluster.saved
        self.running = False
        others = sum(not one.running for one in self.cluster.servers)
        if self.role is Role.SERVER and self.cluster.answers:
            self.cluster.down = max(self.cluster.down, others)
        if self.role is not Role.SERVER:
            self.running, self.due = self.files[TokenKind.AGENT] == saved[TokenKind.AGENT], False
            return
        if self.files[TokenKind.SERVER] != saved[TokenKind.SERVER]:
            self.passwd, self.newer = dict(self.files), True
            return
        if self.newer and self.passwd not in (None, saved):
            return
        self.newer = self.files != saved
        self.passwd, self.own = dict(self.files), dict(self.files)
        self.running, self.due = True, False


class FakeKube:
    """Nodes as the model has them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def items(self, _: str) -> list[dict[str, Any]]:
        return [
            node(one.name, server=one.role is Role.SERVER, ready=one.running, voter=one.running)
            for one in self.cluster.members
        ]


@dataclass
class FakeStack:
    """The part of a stack that a rotation uses."""

    name: str = "dev"
    site: Any = SITE
    generations: TokenGenerations = field(default_factory=TokenGenerations)

    def set_generations(self, generations: TokenGenerations) -> None:
        self.generations = generations

    def secret(self, _: str) -> str:
        return SEED


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("ops.nodes.rolling_restart.HEALTHY_SECONDS", 0)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without backups and without an audit log."""
    for name in ("transfer.take_backup", "transfer.backup_directory", "audit_log.record_operation"):
        monkeypatch.setattr(f"ops.credentials.rotate.{name}", lambda *_: None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    made.members = [Member(one.name, one.role, made) for one in (*SERVERS, *AGENTS)]
    monkeypatch.setattr(RollingRestart, "connect", lambda *_: FakeKube(made) if made.answers else None)
    return made


def run(cluster: Cluster, stack: FakeStack, kind: TokenKind, lost: frozenset[str] = frozenset()) -> None:
    """The command, without the engine's last run."""
    living = [one for one in cluster.members if one.name not in lost]
    rotation = Rotation(
        cast(Engine, SimpleNamespace(stack=stack)),
        kind,
        tuple(one for one in SERVERS if one.name not in lost),
        AGENTS if kind is TokenKind.AGENT else (),
        cast("dict[str, Remote]", {one.name: one for one in living}),
        lost,
    )
    if not rotation.in_progress:
        rotation.start()
    rotation.resume()
    rotation.finish()


def done(cluster: Cluster, stack: FakeStack, kind: TokenKind) -> None:
    """Asserts that all machines have the new token, and that each can restart with it at any time."""
    assert stack.generations.current(kind) == 2
    assert stack.generations.rotating is None
    assert cluster.saved[kind] == NEW[kind]
    for member in cluster.members:
        if member.role is Role.SERVER or kind is TokenKind.AGENT:
            member.start()
            assert member.running, f"{member.name} must start by itself"


def steps_of(kind: TokenKind) -> int:
    """Number of scripts that an undisturbed rotation runs."""
    made = Cluster()
    made.members = [Member(one.name, one.role, made) for one in (*SERVERS, *AGENTS)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RollingRestart, "connect", lambda *_: FakeKube(made))
        alone(patched)
        run(made, FakeStack(), kind)
    return made.steps


@pytest.mark.parametrize("kind", TokenKind)
def test_every_machine_gets_the_new_token_with_at_most_one_server_down(cluster: Cluster, kind: TokenKind) -> None:
    stack = FakeStack()
    run(cluster, stack, kind)

    assert cluster.down == 1
    done(cluster, stack, kind)


@pytest.mark.parametrize("kind", TokenKind)
@pytest.mark.parametrize("afterwards", [False, True])
def test_the_same_command_finishes_a_rotation_killed_at_any_step(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, kind: TokenKind, afterwards: bool
) -> None:
    for step in range(steps_of(kind)):
        made = Cluster(kill_at=step, afterwards=afterwards)
        made.members = [Member(one.name, one.role, made) for one in (*SERVERS, *AGENTS)]
        monkeypatch.setattr(RollingRestart, "connect", lambda *_, made=made: FakeKube(made) if made.answers else None)
        stack = FakeStack()
        with pytest.raises(KilledError):
            run(made, stack, kind)
        run(made, stack, kind)

        assert made.down <= 1
        done(made, stack, kind)


WORST: dict[str, Callable[[Cluster], list[Member]]] = {
    "one server": lambda cluster: cluster.servers[1:2],
    "all servers, as after a power failure": lambda cluster: cluster.servers,
    "everything": lambda cluster: cluster.members,
}


@pytest.mark.parametrize("kind", TokenKind)
@pytest.mark.parametrize("who", WORST)
def test_servers_that_restart_during_a_rotation_rejoin(
    monkeypatch: pytest.MonkeyPatch, kind: TokenKind, who: str
) -> None:
    """With the old token after K3s rotated it, or the new one before: K3s rejects them, and the API can be down."""
    shut_out = 0
    for step in range(steps_of(kind)):
        made = Cluster(kill_at=step, afterwards=True)
        made.members = [Member(one.name, one.role, made) for one in (*SERVERS, *AGENTS)]
        monkeypatch.setattr(RollingRestart, "connect", lambda *_, made=made: FakeKube(made) if made.answers else None)
        stack = FakeStack()
        with pytest.raises(KilledError):
            run(made, stack, kind)
        for member in WORST[who](made):
            member.start()
        shut_out += not all(member.running for member in made.servers)
        run(made, stack, kind)

        done(made, stack, kind)
    assert shut_out or kind is TokenKind.AGENT, "the control: the model does shut servers out"


def test_a_lost_server_is_named_and_skipped_with_lost(cluster: Cluster) -> None:
    stack = FakeStack(generations=TokenGenerations().start_rotation(TokenKind.SERVER))
    dead = cluster.servers[2]
    dead.running = False

    def silent(script: str, *, seconds: float = 0) -> str:
        raise RemoteError(f"{dead.name} does not answer")

    dead.run = silent  # type: ignore[method-assign]
    with pytest.raises(LyceumError, match=f"--lost {dead.name}"):
        run(cluster, stack, TokenKind.SERVER)

    run(cluster, stack, TokenKind.SERVER, frozenset({dead.name}))
    assert stack.generations.current(TokenKind.SERVER) == 2
    assert all(member.own[TokenKind.SERVER] == NEW[TokenKind.SERVER] for member in cluster.servers[:2])


def test_an_unhealthy_server_stops_a_rotation_before_it_starts(cluster: Cluster) -> None:
    stack = FakeStack()
    cluster.servers[1].running = False
    with pytest.raises(LyceumError):
        run(cluster, stack, TokenKind.SERVER)

    assert stack.generations == TokenGenerations()
    assert cluster.saved == OLD
