"""`access`: permissions, roles, the access control list, users and their tokens.

Tickets are issued in `lab.proxmox.auth`. What an administrator does once is here; no call lists, edits or deletes
accounts, because neither Lyceum nor its set-up does.
"""

import uuid
from typing import Any

from lab.proxmox.auth import hash_secret
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, not_found
from lab.proxmox.privileges import BUILTIN_ROLES, PRIVILEGES
from lab.proxmox.propstring import split_list
from lab.proxmox.router import RouteTable
from lab.proxmox.state import AclEntry, ApiToken, User

table = RouteTable()


@table.get("access/permissions")
async def read_permissions(cluster: Cluster, call: Call) -> dict[str, dict[str, int]]:
    """The caller's effective permissions: path to privilege to "propagates"."""
    if call.has("path"):
        held = {call.text("path"): cluster.access.privileges(call.identity, call.text("path"))}
    else:
        held = cluster.access.effective(call.identity)
    return {path: {name: int(below) for name, below in sorted(names.items())} for path, names in held.items() if names}


@table.post("access/roles")
async def create_role(cluster: Cluster, call: Call) -> None:
    """Add a custom role."""
    name = call.required("roleid")
    if name in cluster.access.roles():
        raise ApiError(500, f"create role failed: role '{name}' already exists")
    cluster.state.roles[name] = _read_privileges(call)


@table.put("access/roles/{roleid}")
async def update_role(cluster: Cluster, call: Call) -> None:
    """Replace the privileges of a custom role."""
    name = call["roleid"]
    if name in BUILTIN_ROLES:
        raise ApiError(500, f"auto-generated role '{name}' cannot be modified")
    if name not in cluster.state.roles:
        raise not_found(f"role '{name}'")
    cluster.state.roles[name] = _read_privileges(call)


def _read_privileges(call: Call) -> list[str]:
    names = call.items("privs")
    for name in names:
        if name not in PRIVILEGES:
            raise bad_parameter("privs", f"invalid privilege '{name}'")
    return sorted(set(names))


@table.put("access/acl")
async def update_acl(cluster: Cluster, call: Call) -> None:
    """Grant roles on a path to users or tokens."""
    path = "/" + call.required("path").strip("/")
    state, known = cluster.state, cluster.access.roles()
    propagate = call.flag("propagate", default=True)
    for role in split_list(call.required("roles")):
        if role not in known:
            raise not_found(f"role '{role}'")
        for kind in ("user", "token"):
            for who in call.items(f"{kind}s"):
                _expect_subject(cluster, kind, who)
                entry = AclEntry(path=path, type=kind, ugid=who, roleid=role, propagate=propagate)
                state.acl = [other for other in state.acl if not other.same_grant(entry)] + [entry]


def _expect_subject(cluster: Cluster, kind: str, who: str) -> None:
    user, _, token = who.partition("!")
    account = cluster.state.users.get(user)
    if account is None or (kind == "token" and token not in account.tokens):
        raise not_found(f"{kind} '{who}'")


@table.post("access/users")
async def create_user(cluster: Cluster, call: Call) -> None:
    """Add an account; with `password` it can sign in by ticket."""
    name = call.required("userid")
    if "@" not in name or name.partition("@")[2] not in ("pve", "pam"):
        raise bad_parameter("userid", f"value '{name}' does not look like a valid user name; realms here: pve, pam")
    if name in cluster.state.users:
        raise ApiError(500, f"create user failed: user '{name}' already exists")
    cluster.state.users[name] = User(digest=hash_secret(call.text("password")) if call.has("password") else "")


def _find_user(cluster: Cluster, call: Call) -> User:
    if call["userid"] not in cluster.state.users:
        raise not_found(f"user '{call['userid']}'")
    return cluster.state.users[call["userid"]]


@table.get("access/users/{userid}/token")
async def list_tokens(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The tokens of a user, without secrets."""
    return [
        {"tokenid": name, **_describe_token(token)} for name, token in sorted(_find_user(cluster, call).tokens.items())
    ]


@table.post("access/users/{userid}/token/{tokenid}")
async def create_token(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Create a token; its secret is shown this once."""
    user = _find_user(cluster, call)
    if call["tokenid"] in user.tokens:
        raise bad_parameter("tokenid", "Token already exists.")
    secret = str(uuid.uuid4())
    token = user.tokens[call["tokenid"]] = ApiToken(
        digest=hash_secret(secret), privsep=call.flag("privsep", default=True)
    )
    return {"full-tokenid": f"{call['userid']}!{call['tokenid']}", "info": _describe_token(token), "value": secret}


@table.delete("access/users/{userid}/token/{tokenid}")
async def delete_token(cluster: Cluster, call: Call) -> None:
    """Remove a token and its entries in access lists."""
    user, name, token = _find_user(cluster, call), call["userid"], call["tokenid"]
    if token not in user.tokens:
        raise ApiError(500, f"no such token '{token}' for user '{name}': does not exist")
    del user.tokens[token]
    cluster.state.acl = [e for e in cluster.state.acl if (e.type, e.ugid) != ("token", f"{name}!{token}")]


def _describe_token(token: ApiToken) -> dict[str, Any]:
    return {"privsep": int(token.privsep), "expire": 0}
