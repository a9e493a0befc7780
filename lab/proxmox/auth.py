"""Who is calling: tickets by password, API tokens."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from hmac import compare_digest

from starlette.requests import Request

from lab.proxmox.call import Identity
from lab.proxmox.errors import ApiError
from lab.proxmox.state import State, Token, User
from lab.proxmox.wire import presented_ticket, presented_token

__all__ = ["Auth"]

_TICKET_LIFETIME = 2 * 3600
"""Seconds, as on a real node."""


@dataclass(frozen=True)
class _Ticket:
    user: str
    csrf: str
    expires: float


class Auth:
    """Signs callers in.

    Args:
        state: Holds users and tokens.
        root_password: Password of root@pam, which a real node takes from its operating system.
    """

    def __init__(self, state: State, root_password: str) -> None:
        self._state = state
        self._root_digest = _digest(root_password)
        self._tickets: dict[str, _Ticket] = {}

    def sign_in(self, user: str, password: str) -> dict[str, str | dict[str, str]]:
        """Give a ticket for a password; raises `ApiError` 401."""
        account = self._state.users.get(user)
        expected = self._root_digest if user == "root@pam" else (account.digest if account else "")
        if not expected or not compare_digest(expected, _digest(password)) or not _valid(account):
            raise ApiError(401, "authentication failure")
        now = time.time()
        stamp = f"{int(now):08X}"
        ticket = f"PVE:{user}:{stamp}::{secrets.token_urlsafe(32)}"
        csrf = f"{stamp}:{secrets.token_urlsafe(24)}"
        self._tickets[ticket] = _Ticket(user, csrf, now + _TICKET_LIFETIME)
        return {"username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {}}

    def identify(self, request: Request) -> Identity:
        """The caller of a request; raises `ApiError` 401."""
        if presented := presented_token(request):
            return self._by_token(*presented)
        ticket = self._tickets.get(presented_ticket(request) or "")
        if ticket is None:
            raise ApiError(401, "No ticket")
        if ticket.expires < time.time() or not _valid(self._state.users.get(ticket.user)):
            raise ApiError(401, "permission denied - invalid PVE ticket")
        if request.method != "GET" and request.headers.get("csrfpreventiontoken") != ticket.csrf:
            raise ApiError(401, "Permission denied - invalid csrf token")
        return Identity(ticket.user)

    def _by_token(self, user: str, name: str, secret: str) -> Identity:
        account = self._state.users.get(user)
        token = account.tokens.get(name) if account else None
        if token is None:
            raise ApiError(401, f"no such token '{name}' for user '{user}'")
        if not compare_digest(token.digest, _digest(secret)):
            raise ApiError(401, "invalid token value!")
        if not _valid(account) or not _valid(token):
            raise ApiError(401, f"token '{user}!{name}' or its user is disabled or expired")
        return Identity(user, name)


def _valid(holder: User | Token | None) -> bool:
    if holder is None or (isinstance(holder, User) and not holder.enable):
        return False
    return holder.expire == 0 or holder.expire > time.time()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
