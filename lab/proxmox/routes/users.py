"""`access/users`, their tokens, `access/password`. Tickets are made in `lab.proxmox.auth`."""

import hashlib
import uuid
from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, missing
from lab.proxmox.router import Table
from lab.proxmox.state import Token, User

table = Table()

_DETAILS = ("comment", "email", "firstname", "lastname", "keys")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _user(cluster: Cluster, call: Call) -> User:
    name = call.names.get("userid") or call.required("userid")
    if name not in cluster.state.users:
        raise missing(f"user '{name}'")
    return cluster.state.users[name]


def _shown(user: User) -> dict[str, Any]:
    return {**user.details, "enable": int(user.enable), "expire": user.expire, "groups": user.groups}


@table.get("access/users")
async def list_users(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The users that the caller may see, himself always."""
    everyone = cluster.access.has(call.identity, "/access/groups", "User.Modify", "Sys.Audit", any_of=True)
    shown = []
    for name, user in sorted(cluster.state.users.items()):
        through_group = any(
            cluster.access.has(call.identity, f"/access/groups/{group}", "User.Modify", "Sys.Audit", any_of=True)
            for group in user.groups
        )
        if everyone or through_group or name == call.identity.user:
            shown.append({"userid": name, **_shown(user)})
    return shown


@table.post("access/users")
async def create_user(cluster: Cluster, call: Call) -> None:
    """Add an account."""
    name = call.required("userid")
    if "@" not in name or name.partition("@")[2] not in ("pve", "pam"):
        raise bad_parameter("userid", f"value '{name}' does not look like a valid user name; realms here: pve, pam")
    if name in cluster.state.users:
        raise ApiError(500, f"create user failed: user '{name}' already exists")
    cluster.state.users[name] = User()
    _change(cluster, cluster.state.users[name], call)
    if call.has("password"):
        cluster.state.users[name].digest = _digest(call.text("password"))


@table.get("access/users/{userid}")
async def read_user(cluster: Cluster, call: Call) -> dict[str, Any]:
    """One account."""
    return _shown(_user(cluster, call))


@table.put("access/users/{userid}")
async def update_user(cluster: Cluster, call: Call) -> None:
    """Change an account."""
    _change(cluster, _user(cluster, call), call)


@table.delete("access/users/{userid}")
async def delete_user(cluster: Cluster, call: Call) -> None:
    """Remove an account with its tokens and its entries in access lists."""
    _user(cluster, call)
    name = call["userid"]
    del cluster.state.users[name]
    cluster.state.acl = [entry for entry in cluster.state.acl if entry.ugid.partition("!")[0] != name]


def _change(cluster: Cluster, user: User, call: Call) -> None:
    groups = call.items("groups")
    for group in groups:
        if group not in cluster.state.groups:
            raise missing(f"group '{group}'")
    if call.has("groups"):
        user.groups = sorted({*user.groups, *groups} if call.flag("append") else set(groups))
    user.enable = call.flag("enable", default=user.enable)
    user.expire = call.number("expire", call.text("expire", str(user.expire)))
    user.details |= {key: call.text(key) for key in _DETAILS if call.has(key)}


@table.put("access/password")
async def change_password(cluster: Cluster, call: Call) -> None:
    """Give a user a new password."""
    _user(cluster, call).digest = _digest(call.required("password"))


@table.get("access/users/{userid}/token")
async def list_tokens(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The tokens of a user, without secrets."""
    return [{"tokenid": name, **_info(token)} for name, token in sorted(_user(cluster, call).tokens.items())]


@table.post("access/users/{userid}/token/{tokenid}")
async def create_token(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Mint a token; its secret is shown this once."""
    user = _user(cluster, call)
    if call["tokenid"] in user.tokens:
        raise bad_parameter("tokenid", "Token already exists.")
    secret = str(uuid.uuid4())
    user.tokens[call["tokenid"]] = _changed(Token(digest=_digest(secret)), call)
    return {
        "full-tokenid": f"{call['userid']}!{call['tokenid']}",
        "info": _info(user.tokens[call["tokenid"]]),
        "value": secret,
    }


@table.get("access/users/{userid}/token/{tokenid}")
async def read_token(cluster: Cluster, call: Call) -> dict[str, Any]:
    """One token, without its secret."""
    return _info(_token(cluster, call))


@table.put("access/users/{userid}/token/{tokenid}")
async def update_token(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Change a token, not its secret."""
    return _info(_changed(_token(cluster, call), call))


@table.delete("access/users/{userid}/token/{tokenid}")
async def delete_token(cluster: Cluster, call: Call) -> None:
    """Remove a token and its entries in access lists."""
    _token(cluster, call)
    del _user(cluster, call).tokens[call["tokenid"]]
    full = f"{call['userid']}!{call['tokenid']}"
    cluster.state.acl = [entry for entry in cluster.state.acl if (entry.type, entry.ugid) != ("token", full)]


def _token(cluster: Cluster, call: Call) -> Token:
    tokens = _user(cluster, call).tokens
    if call["tokenid"] not in tokens:
        raise ApiError(500, f"no such token '{call['tokenid']}' for user '{call['userid']}': does not exist")
    return tokens[call["tokenid"]]


def _changed(token: Token, call: Call) -> Token:
    token.privsep = call.flag("privsep", default=token.privsep)
    token.expire = call.number("expire", call.text("expire", str(token.expire)))
    token.comment = call.text("comment", token.comment)
    return token


def _info(token: Token) -> dict[str, Any]:
    return {"privsep": int(token.privsep), "expire": token.expire, "comment": token.comment}
