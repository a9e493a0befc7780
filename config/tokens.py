"""K3s's two tokens: how each generation is derived from the seed, and which one is in use. Pure.

The server token also encrypts the cluster's bootstrap data, in etcd and in every snapshot. So only `./lyceum secrets rotate`
changes it, and a snapshot needs the generation that was in use when it was taken.
"""

from enum import StrEnum

from pydantic import Field, ValidationError

from config.base import Model
from config.errors import LyceumError
from config.key_derivation import derive_password, token_hash

SETTING = "token-generations"
"""Setting in the stack's configuration; absent until a token is rotated for the first time."""


class TokenGenerationsError(LyceumError):
    """The setting was not written by `./lyceum secrets rotate`."""


class TokenKind(StrEnum):
    """The token of the servers or of the agents."""

    SERVER = "server-token"
    AGENT = "agent-token"


_PURPOSE = {TokenKind.SERVER: "k3s-token", TokenKind.AGENT: "k3s-agent-token"}


class TokenGenerations(Model):
    """Which generation of each token is in use."""

    server_token: int = Field(default=1, ge=1)
    """Generation of the token that servers join with."""
    agent_token: int = Field(default=1, ge=1)
    """Generation of the token that agents join with."""
    newest: int = Field(default=1, ge=1)
    """Highest generation that either token ever had; none is used twice, even after a restore of an older one."""
    rotating: TokenKind | None = None
    """The token that is being changed to `newest`."""

    def current(self, kind: TokenKind) -> int:
        """The generation in use."""
        return self.server_token if kind is TokenKind.SERVER else self.agent_token

    def start_rotation(self, kind: TokenKind) -> "TokenGenerations":
        """A copy with a rotation started; a rotation that was interrupted continues to the same generation."""
        if self.rotating is kind:
            return self
        return self.model_copy(update={"newest": self.newest + 1, "rotating": kind})

    def finish_rotation(self, kind: TokenKind) -> "TokenGenerations":
        """A copy with the rotation finished."""
        return self.with_generation(kind, self.newest)

    def with_generation(self, kind: TokenKind, generation: int) -> "TokenGenerations":
        """A copy with another generation in use, and no rotation of this token in progress."""
        field = kind.value.replace("-", "_")
        rotating = None if self.rotating is kind else self.rotating
        return self.model_copy(update={field: generation, "rotating": rotating})

    def as_setting(self) -> dict[str, object]:
        """The form in the stack's configuration; empty for the default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def read_generations(value: object) -> TokenGenerations:
    """Reads the setting; None means that no token was ever rotated.

    Raises:
        GenerationsError: it was changed by hand.
    """
    try:
        return TokenGenerations.model_validate(value or {})
    except ValidationError:
        rule = "numbers from 1 under `server-token`, `agent-token` and `newest`"
        raise TokenGenerationsError(
            f"lyceum:{SETTING} holds {rule}, and only ./lyceum secrets rotate changes it"
        ) from None


def token_purpose(kind: TokenKind, generation: int) -> str:
    """The purpose for which a generation is derived from the seed (docs/adr/0012)."""
    return _PURPOSE[kind] if generation == 1 else f"{_PURPOSE[kind]}/{generation}"


def derive_token(seed: str, kind: TokenKind, generation: int) -> str:
    """Derives one generation of a token."""
    return derive_password(seed, token_purpose(kind, generation))


def find_generation(seed: str, kind: TokenKind, newest: int, wanted: str) -> int | None:
    """The generation of the token with this hash (`token_hash`), searched from the newest down; None if the seed has none."""
    found = (one for one in range(newest, 0, -1) if token_hash(derive_token(seed, kind, one)) == wanted)
    return next(found, None)
