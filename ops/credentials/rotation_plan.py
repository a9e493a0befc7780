"""Progress of a token rotation and its blockers. Pure functions of what the machines report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.tokens import TokenKind


@dataclass(frozen=True)
class TokenStatus:
    """State of one token on a machine.

    Attributes:
        configured: Hash of the token with which K3s will start.
        running: Hash of the token with which K3s runs; `-` on an agent, which does not record it.
        due: Whether a restart of K3s is due.
        state: State of K3s's unit in systemd, as in `active`.
    """

    configured: str
    running: str
    due: bool
    state: str

    @classmethod
    def parse(cls, text: str) -> "TokenStatus":
        """Parses the output of `rotation_scripts.status_script`."""
        configured, running, due, state = text.split()
        return cls(configured, running, due == "due", state)

    def uses_token(self, token: str) -> bool:
        """Whether K3s is active and runs with this token, and no restart is due. `token` is a hash."""
        return self.configured == token and self.running in {token, "-"} and not self.due and self.state == "active"


def is_rotated(servers: Iterable[TokenStatus], new: str) -> bool:
    """Whether K3s has rotated the server token: the server that did it runs with the new one from then on."""
    return any(seen.running == new for seen in servers)


def unfinished_machines(statuses: Mapping[str, TokenStatus], new: str) -> list[str]:
    """Machines that do not run with the new token yet, in their order. `new` is a hash."""
    return [name for name, status in statuses.items() if not status.uses_token(new)]


def rotation_blockers(
    kind: TokenKind,
    statuses: Mapping[str, TokenStatus | None],
    old: str,
    health: Mapping[str, bool] | None,
) -> list[str]:
    """Why a rotation must not start, one line each.

    Args:
        kind: The token.
        statuses: Status of the machines that need the new token; None for one that does not answer over SSH.
        old: Hash of the current token by the stack's configuration.
        health: Whether each node is Ready, and each server also an etcd voter; None if the API does not answer.
    """
    blockers = []
    if silent := [name for name, status in statuses.items() if status is None]:
        blockers.append(f"{', '.join(silent)} does not answer over SSH: without the new token it cannot rejoin")
    if other := [name for name, status in statuses.items() if status and status.configured != old]:
        blockers.append(
            f"{', '.join(other)} has another {kind} than the stack's configuration: check whether the seed or a "
            "generation was changed by hand, and revert that first"
        )
    if health is None:
        blockers.append("the API does not answer")
    elif unhealthy := sorted(name for name, healthy in health.items() if not healthy):
        blockers.append(
            f"{', '.join(unhealthy)} is not Ready, or a server that is not an etcd voter: repair or replace it first"
        )
    return blockers
