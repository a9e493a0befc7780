"""How far the change of a token came, and why it must not begin. Pure: what machines say in, decisions out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.tokens import TokenKind


@dataclass(frozen=True)
class TokenStatus:
    """What a machine says about one token.

    Attributes:
        configured: Hash of the token that K3s will start with.
        running: Hash of the one it runs with; `-` for an agent, which keeps no record.
        due: Whether K3s has to be started anew.
        state: systemd's word for K3s.
    """

    configured: str
    running: str
    due: bool
    state: str

    @classmethod
    def parse(cls, text: str) -> "TokenStatus":
        """Reads what `scripts.look` prints."""
        configured, running, due, state = text.split()
        return cls(configured, running, due == "due", state)

    def uses_token(self, token: str) -> bool:
        """Whether K3s is up and runs with this token, and nothing is left to do."""
        return self.configured == token and self.running in {token, "-"} and not self.due and self.state == "active"


def is_rotated(servers: Iterable[TokenStatus], new: str) -> bool:
    """Whether K3s has changed the server token: the server that did it says so from that moment on."""
    return any(seen.running == new for seen in servers)


def unfinished_machines(seen: Mapping[str, TokenStatus], new: str) -> list[str]:
    """Machines that do not run with the new token yet, in their order."""
    return [name for name, one in seen.items() if not one.uses_token(new)]


def rotation_blockers(
    kind: TokenKind,
    seen: Mapping[str, TokenStatus | None],
    old: str,
    well: Mapping[str, bool] | None,
) -> list[str]:
    """Why a rotation must not begin.

    Args:
        kind: Which token.
        seen: What the machines say that have to be told; None for one that does not answer over SSH.
        old: Hash of the token that the stack's configuration gives.
        well: Nodes by name, and whether they are Ready, servers also voters; None where the API does not answer.
    """
    found = []
    if silent := [name for name, one in seen.items() if one is None]:
        found.append(f"{', '.join(silent)} does not answer over SSH: without the new token it is shut out")
    if other := [name for name, one in seen.items() if one and one.configured != old]:
        found.append(
            f"{', '.join(other)} has another {kind} than the stack's configuration gives: was the seed changed, or a "
            "generation by hand? Bring it back first"
        )
    if well is None:
        found.append("the API does not answer")
    elif sick := sorted(name for name, ready in well.items() if not ready):
        found.append(f"{', '.join(sick)} is not Ready, or a server without a vote: mend or replace it first")
    return found
