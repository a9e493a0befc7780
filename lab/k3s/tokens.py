"""Join tokens: the short form, and K3s's secure form `K10<hash>::<user>:<password>`."""

import hashlib
import secrets
from dataclasses import dataclass


class TokenError(Exception):
    """The token cannot be used; the text is K3s's."""


@dataclass(frozen=True)
class JoinToken:
    """The parts of a join token."""

    ca_hash: str
    """SHA-256 of the CA bundle in hex; empty in the short form."""
    user: str
    """`server` or `node`; empty in the short form."""
    password: str
    """The shared secret."""


def ca_hash(bundle: bytes) -> str:
    """Return the hash that the secure form carries: of the bytes of the CA file, when it holds one certificate."""
    return hashlib.sha256(bundle).hexdigest()


def secure_token(credentials: str, bundle: bytes) -> str:
    """Return the secure form for credentials such as `server:secret`."""
    return f"K10{ca_hash(bundle)}::{credentials}"


def random_password() -> str:
    """Return a new secret of the length that K3s makes, 32 hex digits."""
    return secrets.token_hex(16)


def parse_token(token: str) -> JoinToken:
    """Split a token into its parts.

    Raises `TokenError` when it is empty or has the wrong form.
    """
    if not token:
        raise TokenError("token must not be empty")
    if not token.startswith("K10"):
        return JoinToken("", "", token)
    digest, separator, credentials = token[3:].partition("::")
    if not separator:
        digest, credentials = "", digest
    if digest and len(digest) != hashlib.sha256().digest_size * 2:
        raise TokenError("invalid token CA hash length")
    user, separator, password = credentials.partition(":")
    if not separator or not password:
        raise TokenError("invalid token format")
    return JoinToken(digest, user, password)


def check_ca(token: JoinToken, bundle: bytes) -> None:
    """Refuse a cluster whose CA is not the one that the token names; the short form names none."""
    if token.ca_hash and token.ca_hash != ca_hash(bundle):
        raise TokenError(
            f"token CA hash does not match the Cluster CA certificate hash: {token.ca_hash} != {ca_hash(bundle)}"
        )
