"""`lyceum secrets rotate`: gives the cluster a new server or agent token, one server at a time; safe to interrupt and repeat."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Annotated

import typer

from config.errors import LyceumError, OperationRefusedError
from config.hosts import Node, Role
from config.key_derivation import token_hash
from config.tokens import TokenGenerations, TokenKind, derive_token
from ops import audit_log
from ops.backup import transfer
from ops.clients.kubernetes import Kube
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.console import console, errors, step
from ops.credentials import rotation_scripts
from ops.credentials.rotation_plan import TokenStatus, is_rotated, rotation_blockers, unfinished_machines
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.engine.stack import Stack, find_stack
from ops.nodes.rolling_restart import RollingRestart, list_ready_nodes, read_server_health, servers_and_agents

MAX_CONNECTIONS = 16


def rotate_token(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    kind: Annotated[TokenKind, typer.Argument(help="The token.")],
    *,
    stack: Annotated[str | None, typer.Option("--stack", help="Stack of the site, if it has several.")] = None,
    lost: Annotated[
        list[str] | None,
        typer.Option(help="A machine that is lost and not waited for; the API pauses at each restart. Repeatable."),
    ] = None,
) -> None:
    """Gives the cluster a new server or agent token, derived from the seed; continues an interrupted rotation."""
    engine = Engine.open(find_stack(site, stack).name)
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        rotation = Rotation.of(engine, kind, frozenset(lost or ()))
        if not rotation.in_progress:
            rotation.start()
        rotation.resume()
        rotation.finish()
        raise typer.Exit(rotation.refresh_state(lock))


@dataclass(frozen=True)
class Rotation:
    """The rotation of one token.

    Attributes:
        engine: The engine of the stack.
        kind: The token.
        servers: Servers of the cluster, in order, without lost ones.
        agents: Agents that need the new token, without lost ones; none for the server token.
        machines: SSH access to the machines, by name.
        lost: Machines that are given up and not waited for.
    """

    engine: Engine
    kind: TokenKind
    servers: tuple[Node, ...]
    agents: tuple[Node, ...]
    machines: Mapping[str, Remote]
    lost: frozenset[str]

    @classmethod
    def of(cls, engine: Engine, kind: TokenKind, lost: frozenset[str]) -> "Rotation":
        """The rotation of a token, in progress or not started.

        Raises:
            OperationRefusedError: a lost machine does not have this token, or the rotation of the other token is not finished.
        """
        servers, agents = servers_and_agents(engine.stack.nodes)
        agents = agents if kind is TokenKind.AGENT else ()
        known = {node.name for node in (*servers, *agents)}
        if unknown := lost - known:
            raise OperationRefusedError(f"--lost {' '.join(sorted(unknown))}: not a machine with the {kind}")
        if (other := engine.stack.generations.rotating) not in {None, kind}:
            raise OperationRefusedError(f"the rotation of the {other} is not finished: {resume_command(engine.stack)}")
        living = tuple(node for node in (*servers, *agents) if node.name not in lost)
        return cls(
            engine,
            kind,
            tuple(node for node in living if node in servers),
            tuple(node for node in living if node in agents),
            remotes(engine, living),
            lost,
        )

    @property
    def in_progress(self) -> bool:
        """Whether it has started."""
        return self.engine.stack.generations.rotating is self.kind

    @property
    def rolling(self) -> RollingRestart:
        """The restart of K3s that it needs."""
        return RollingRestart(
            self.engine.stack.site, self.machines, lambda node: rotation_scripts.restart_script(node.role)
        )

    def start(self) -> None:
        """Checks for blockers, takes a backup, and records the start.

        Raises:
            OperationRefusedError: there is a blocker.
        """
        stack = self.engine.stack
        kube = self.rolling.connect(self.servers)
        nodes = (*self.servers, *self.agents)
        statuses = self._read_statuses(nodes)
        blockers = rotation_blockers(
            self.kind, statuses, token_hash(self._token(stack.generations.current(self.kind))), _node_health(kube)
        )
        if blockers or kube is None:
            for blocker in blockers:
                errors.print(f"[red]✗[/] {blocker}")
            raise OperationRefusedError("nothing was changed")
        transfer.take_backup(self.engine, kube, transfer.backup_directory(stack, None))
        stack.set_generations(stack.generations.start_rotation(self.kind))
        audit_log.record_operation(stack.name, "rotate", {"token": self.kind, "generation": stack.generations.newest})

    def resume(self) -> None:
        """Brings every machine to the new token, from any intermediate state."""
        new = self._new_token
        if self.kind is TokenKind.SERVER and not is_rotated(
            self._require_statuses(self.servers).values(), token_hash(new)
        ):
            self._rotate_server_token(new)
        # On all servers at once, before any restart: one that restarts by itself with the old token could not rejoin.
        self._write_token(self.servers, new)
        saved = False

        def save(server: Node) -> None:
            nonlocal saved
            if self.kind is TokenKind.AGENT and not saved:
                current = self._token(self.engine.stack.generations.server_token, TokenKind.SERVER)
                self._run(self.machines[server.name], rotation_scripts.rotate_script(current))
                saved = True

        self.rolling.restart_servers(self.servers, lambda: self._unfinished(self.servers), lost=self.lost, after=save)
        save(self.servers[0])
        self._write_token(self.agents, new)
        unfinished = set(self._unfinished(self.agents))
        self.rolling.restart_agents(self.servers, [node for node in self.agents if node.name in unfinished])

    def finish(self) -> None:
        """Records the end, and takes the first backup that the new token decrypts."""
        if unfinished := self._unfinished((*self.servers, *self.agents)):
            raise LyceumError(
                f"{', '.join(unfinished)} does not run with the new {self.kind}; run this again to continue"
            )
        stack = self.engine.stack
        stack.set_generations(stack.generations.finish_rotation(self.kind))
        generation = stack.generations.current(self.kind)
        audit_log.record_operation(stack.name, "rotated", {"token": self.kind, "generation": generation})
        kube = self.rolling.connect(self.servers)
        if kube is not None:
            transfer.take_backup(self.engine, kube, transfer.backup_directory(stack, None))
        console.print(f"[green]✓[/] every machine has generation {generation} of the {self.kind}")
        if self.kind is TokenKind.SERVER:
            console.print("  older backups stay usable: a restore finds the generation that decrypts each of them")

    def refresh_state(self, lock: IO[str]) -> int:
        """Runs the machines' scripts with the new token, so that the engine's state has it; they change nothing."""
        commands = self.engine.export().k3s_commands
        only = [commands[name] for name in self.machines if name in commands]
        return self.engine.up(lock, f"rotate the {self.kind}", only=only)

    @property
    def _new_token(self) -> str:
        return self._token(self.engine.stack.generations.newest)

    def _token(self, generation: int, kind: TokenKind | None = None) -> str:
        return derive_token(self.engine.stack.secret("seed"), kind or self.kind, generation)

    def _rotate_server_token(self, new: str) -> None:
        kube = self.rolling.connect(self.servers)
        if kube is None:
            raise OperationRefusedError("the API does not answer: repair it, then run this again")
        health = read_server_health(kube)
        if unhealthy := sorted(name for name, healthy in health.items() if not healthy and name not in self.lost):
            raise OperationRefusedError(
                f"{', '.join(unhealthy)} is not a Ready, voting server: repair or replace it, then run this again"
            )
        first = self.machines[self.servers[0].name]
        with step(f"rotate the {self.kind} on {first.name}"):
            self._run(first, rotation_scripts.rotate_script(new))

    def _write_token(self, nodes: tuple[Node, ...], new: str) -> None:
        if not nodes:
            return
        with (
            step(f"write the new {self.kind} to {', '.join(node.name for node in nodes)}"),
            ThreadPoolExecutor(MAX_CONNECTIONS) as workers,
        ):
            scripts = [rotation_scripts.write_token_script(node.role, self.kind, new) for node in nodes]
            list(workers.map(self._run, [self.machines[node.name] for node in nodes], scripts))

    def _unfinished(self, nodes: tuple[Node, ...]) -> list[str]:
        return unfinished_machines(self._require_statuses(nodes), token_hash(self._new_token))

    def _read_statuses(self, nodes: tuple[Node, ...]) -> dict[str, TokenStatus | None]:
        def read(node: Node) -> TokenStatus | None:
            if node.name not in self.machines:
                return None
            try:
                return TokenStatus.parse(
                    self.machines[node.name].run(rotation_scripts.status_script(node.role, self.kind))
                )
            except RemoteError:
                return None

        with ThreadPoolExecutor(MAX_CONNECTIONS) as workers:
            return dict(zip((node.name for node in nodes), workers.map(read, nodes), strict=True))

    def _require_statuses(self, nodes: tuple[Node, ...]) -> dict[str, TokenStatus]:
        """Status of the token on every machine.

        Raises:
            OperationRefusedError: a machine does not answer; the text has the command that continues without it.
        """
        statuses = self._read_statuses(nodes)
        if silent := [name for name, status in statuses.items() if status is None]:
            raise OperationRefusedError(
                f"{', '.join(silent)} does not answer over SSH. Repair it and run this again; if it is lost: "
                f"{resume_command(self.engine.stack)} {' '.join(f'--lost {name}' for name in silent)}"
            )
        return {name: status for name, status in statuses.items() if status is not None}

    def _run(self, remote: Remote, script: str) -> None:
        try:
            remote.run(script)
        except RemoteError as error:
            raise LyceumError(f"{error}\nRun this again to continue") from error


def _node_health(kube: Kube | None) -> dict[str, bool] | None:
    """Whether each node is Ready, and each server also an etcd voter; None without an API."""
    if kube is None:
        return None
    names = [node["metadata"]["name"] for node in kube.items("/api/v1/nodes")]
    ready = set(list_ready_nodes(kube))
    return {name: name in ready for name in names} | read_server_health(kube)


def save_tokens(engine: Engine) -> None:
    """Saves the current tokens to the cluster's bootstrap data after a restore, where a token was ever rotated.

    The snapshot holds the tokens of its time, with which K3s would refuse its second start.

    Raises:
        LyceumError: the server cannot be reached, or K3s refused.
    """
    stack = engine.stack
    if stack.generations == TokenGenerations():
        return
    server = next(node for node in stack.nodes if node.role is Role.SERVER)
    current = derive_token(stack.secret("seed"), TokenKind.SERVER, stack.generations.server_token)
    try:
        with step(f"save the current tokens on {server.name}"):
            remotes(engine, (server,))[server.name].run(rotation_scripts.rotate_script(current))
    except RemoteError as error:
        raise LyceumError(f"{error}\nRun this again to continue") from error


def resume_command(stack: Stack) -> str:
    """The command that continues a rotation in progress."""
    return f"./lyceum secrets rotate {stack.site.name} {stack.generations.rotating} --stack {stack.name}"


def require_no_rotation(stack: Stack) -> None:
    """Refuses an operation during a rotation: a machine that joins in between could get a token that is no longer valid.

    Raises:
        OperationRefusedError: a rotation is in progress.
    """
    if stack.generations.rotating:
        raise OperationRefusedError(
            f"the rotation of the {stack.generations.rotating} is not finished; first run {resume_command(stack)}"
        )
