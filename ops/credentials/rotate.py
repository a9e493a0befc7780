"""`lyceum secrets rotate`: another server or agent token, one server at a time, from any interruption on."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Annotated

import typer

from config.errors import LyceumError, OperationRefusedError
from config.hosts import Node
from config.key_derivation import token_hash
from config.tokens import TokenKind, derive_token
from ops import audit_log
from ops.backup import transfer
from ops.clients.kubernetes import Kube
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.console import console, errors, step
from ops.credentials import rotation_scripts
from ops.credentials.guard import resume_command
from ops.credentials.rotation_plan import TokenStatus, is_rotated, rotation_blockers, unfinished_machines
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.engine.site_stack import stack_of
from ops.nodes.rolling_restart import RollingRestart, list_ready_nodes, read_server_health, servers_and_agents

MAX_CONNECTIONS = 16


def rotate_token(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    kind: Annotated[TokenKind, typer.Argument(help="Which token.")],
    *,
    stack: Annotated[str | None, typer.Option("--stack", help="Which of its stacks, where it has several.")] = None,
    lost: Annotated[
        list[str] | None,
        typer.Option(help="A machine that is lost: go on without it. The API pauses at each restart. Repeat for each."),
    ] = None,
) -> None:
    """Give the cluster another server or agent token, derived from the seed; goes on where it was interrupted."""
    engine = Engine.open(stack_of(site, stack).name)
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
    """The change of one token.

    Attributes:
        engine: The stack.
        kind: Which token.
        servers: Servers of the cluster, in their order.
        agents: Agents that have to be told; none for the server token.
        machines: How each machine is reached.
        lost: Machines that nobody waits for.
    """

    engine: Engine
    kind: TokenKind
    servers: tuple[Node, ...]
    agents: tuple[Node, ...]
    machines: Mapping[str, Remote]
    lost: frozenset[str]

    @classmethod
    def of(cls, engine: Engine, kind: TokenKind, lost: frozenset[str]) -> "Rotation":
        """The rotation that is under way, or one that has not begun."""
        servers, agents = servers_and_agents(engine.stack.nodes)
        agents = agents if kind is TokenKind.AGENT else ()
        known = {node.name for node in (*servers, *agents)}
        if unknown := lost - known:
            raise OperationRefusedError(f"--lost {' '.join(sorted(unknown))}: no machine that has the {kind}")
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
        """Whether it has begun."""
        return self.engine.stack.generations.rotating is self.kind

    @property
    def rolling(self) -> RollingRestart:
        """How K3s is started anew."""
        return RollingRestart(
            self.engine.stack.site, self.machines, lambda node: rotation_scripts.restart_script(node.role)
        )

    def start(self) -> None:
        """Makes sure that nothing speaks against it, takes a backup, and notes that it has begun."""
        stack = self.engine.stack
        kube = self.rolling.connect(self.servers)
        nodes = (*self.servers, *self.agents)
        seen = self._read_statuses(nodes)
        found = rotation_blockers(
            self.kind, seen, token_hash(self._token(stack.generations.current(self.kind))), _node_health(kube)
        )
        if found or kube is None:
            for objection in found:
                errors.print(f"[red]✗[/] {objection}")
            raise OperationRefusedError("nothing was touched")
        transfer.take_backup(self.engine, kube, transfer.backup_directory(stack, None))
        stack.set_generations(stack.generations.start_rotation(self.kind))
        audit_log.record_operation(stack.name, "rotate", {"token": self.kind, "generation": stack.generations.newest})

    def resume(self) -> None:
        """Brings every machine to the new token, whatever was done before."""
        new = self._new_token
        if self.kind is TokenKind.SERVER and not is_rotated(
            self._require_statuses(self.servers).values(), token_hash(new)
        ):
            self._rotate_server_token(new)
        # At once, and before any restart: a server that starts by itself with the old token is shut out.
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
        left = set(self._unfinished(self.agents))
        self.rolling.restart_agents(self.servers, [node for node in self.agents if node.name in left])

    def finish(self) -> None:
        """Notes the end, and takes the first backup that the new token opens."""
        if left := self._unfinished((*self.servers, *self.agents)):
            raise LyceumError(f"{', '.join(left)} does not run with the new {self.kind}; run this again to go on")
        stack = self.engine.stack
        stack.set_generations(stack.generations.finish_rotation(self.kind))
        generation = stack.generations.current(self.kind)
        audit_log.record_operation(stack.name, "rotated", {"token": self.kind, "generation": generation})
        kube = self.rolling.connect(self.servers)
        if kube is not None:
            transfer.take_backup(self.engine, kube, transfer.backup_directory(stack, None))
        console.print(f"[green]✓[/] every machine has generation {generation} of the {self.kind}")
        if self.kind is TokenKind.SERVER:
            console.print("  older backups stay: a restore finds the generation that opens each of them")

    def refresh_state(self, lock: IO[str]) -> int:
        """Runs the machines' own scripts with the new token: they find it, and change nothing."""
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
        sick = (
            [name for name, well in read_server_health(kube).items() if not well and name not in self.lost]
            if kube
            else ["the API"]
        )
        if sick:
            raise OperationRefusedError(
                f"{', '.join(sorted(sick))} is not well: mend or replace it, then run this again"
            )
        first = self.machines[self.servers[0].name]
        with step(f"K3s changes the {self.kind} on {first.name}"):
            self._run(first, rotation_scripts.rotate_script(new))

    def _write_token(self, nodes: tuple[Node, ...], new: str) -> None:
        if not nodes:
            return
        with (
            step(f"the new {self.kind} to {', '.join(node.name for node in nodes)}"),
            ThreadPoolExecutor(MAX_CONNECTIONS) as workers,
        ):
            list(
                workers.map(
                    lambda node: self._run(
                        self.machines[node.name], rotation_scripts.write_token_script(node.role, self.kind, new)
                    ),
                    nodes,
                )
            )

    def _unfinished(self, nodes: tuple[Node, ...]) -> list[str]:
        return unfinished_machines(self._require_statuses(nodes), token_hash(self._new_token))

    def _read_statuses(self, nodes: tuple[Node, ...]) -> dict[str, TokenStatus | None]:
        def one(node: Node) -> TokenStatus | None:
            if node.name not in self.machines:
                return None
            try:
                return TokenStatus.parse(
                    self.machines[node.name].run(rotation_scripts.status_script(node.role, self.kind))
                )
            except RemoteError:
                return None

        with ThreadPoolExecutor(MAX_CONNECTIONS) as workers:
            return dict(zip((node.name for node in nodes), workers.map(one, nodes), strict=True))

    def _require_statuses(self, nodes: tuple[Node, ...]) -> dict[str, TokenStatus]:
        """What the machines say; ends the command where one is silent, and says how to go on without it."""
        seen = self._read_statuses(nodes)
        if silent := [name for name, one in seen.items() if one is None]:
            raise OperationRefusedError(
                f"{', '.join(silent)} does not answer over SSH. Bring it back and run this again; if it is lost: "
                f"{resume_command(self.engine.stack)} {' '.join(f'--lost {name}' for name in silent)}"
            )
        return {name: one for name, one in seen.items() if one is not None}

    def _run(self, remote: Remote, script: str) -> None:
        try:
            remote.run(script)
        except RemoteError as error:
            raise LyceumError(f"{error}\nRun this again to go on") from error


def _node_health(kube: Kube | None) -> dict[str, bool] | None:
    """Every node, and whether it is well."""
    if kube is None:
        return None
    reporting = set(list_ready_nodes(kube))
    nodes = kube.items("/api/v1/nodes")
    return {node["metadata"]["name"]: node["metadata"]["name"] in reporting for node in nodes} | read_server_health(
        kube
    )
