"""Authentication: tickets by password, API tokens."""

import hashlib
import secrets
import time
from hmac import compare_digest

from starlette.requests import Request

from lab.proxmox.call import Identity
from lab.proxmox.errors import ApiError
from lab.proxmox.state import ClusterState
from lab.proxmox.wire import read_ticket, read_token


class Auth:
    """Signs callers in; root@pam has a password of its own, as a real node takes it from its operating system."""

    def __init__(self, state: ClusterState, root_password: str) -> None:
        self._state = state
        self._root_digest = hash_secret(root_password)
        self._tickets: dict[str, tuple[str, str]] = {}
        """Ticket -> its user and CSRF token. They do not expire."""

    def sign_in(self, user: str, password: str) -> dict[str, str | dict[str, str]]:
        """Give a ticket for a password; raises `ApiError` 401."""
        account = self._state.users.get(user)
        expected = self._root_digest if user == "root@pam" else (account.digest if account else "")
        if not (account and account.enable and expected and compare_digest(expected, hash_secret(password))):
            raise ApiError(401, "authentication failure")
        stamp = f"{int(time.time()):08X}"
        ticket = f"PVE:{user}:{stamp}::{secrets.token_urlsafe(32)}"
        csrf = f"{stamp}:{secrets.token_urlsafe(24)}"
        self._tickets[ticket] = user, csrf
        return {"username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {}}

    def identify(self, request: Request) -> Identity:
        """The caller of a request; raises `ApiError` 401."""
        if presented := read_token(request):
            return self._by_token(*presented)
        user, csrf = self._tickets.get(read_ticket(request) or "", ("", ""))
        if not user:
            raise ApiError(401, "No ticket")
        if not self._state.users[user].enable:
            raise ApiError(401, "permission denied - invalid PVE ticket")
        if request.method != "GET" and request.headers.get("csrfpreventiontoken") != csrf:
            raise ApiError(401, "Permission denied - invalid csrf token")
        return Identity(user)

    def _by_token(self, user: str, name: str, secret: str) -> Identity:
        account = self._state.users.get(user)
        token = account.tokens.get(name) if account else None
        if token is None:
            raise ApiError(401, f"no such token '{name}' for user '{user}'")
        if not compare_digest(token.digest, hash_secret(secret)):
            raise ApiError(401, "invalid token value!")
        if not account or not account.enable:
            raise ApiError(401, f"user '{user}' is disabled")
        return Identity(user, name)


def hash_secret(secret: str) -> str:
    """SHA-256, hex: how the state keeps passwords and token secrets."""
    return hashlib.sha256(secret.encode()).hexdigest()
