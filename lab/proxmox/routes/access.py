"""`access/permissions`, `access/roles`, `access/acl`, `access/groups`."""

from typing import Any

from lab.proxmox.call import Call, Identity
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, missing
from lab.proxmox.privileges import BUILTIN_ROLES, PRIVILEGES
from lab.proxmox.propstring import split_list
from lab.proxmox.router import Table
from lab.proxmox.state import AclEntry, Group

table = Table()


@table.get("access/permissions")
async def permissions(cluster: Cluster, call: Call) -> dict[str, dict[str, int]]:
    """Effective permissions: path to privilege to "propagates". Of oneself, own tokens, or anyone for an auditor."""
    who = call.identity
    if call.has("userid"):
        user, _, token = call.text("userid").partition("!")
        who = Identity(user, token or None)
        own = who == call.identity or (call.identity.token is None and call.identity.user == user)
        if not own:
            cluster.access.require(call.identity, "/access", "Sys.Audit")
    if call.has("path"):
        held = {call.text("path"): cluster.access.privileges(who, call.text("path"))}
    else:
        held = cluster.access.effective(who)
    return {path: {name: int(below) for name, below in sorted(names.items())} for path, names in held.items() if names}


@table.get("access/roles")
async def list_roles(cluster: Cluster, _call: Call) -> list[dict[str, Any]]:
    """All roles."""
    return [
        {"roleid": name, "privs": ",".join(sorted(privileges)), "special": int(name in BUILTIN_ROLES)}
        for name, privileges in sorted(cluster.access.roles().items())
    ]


@table.get("access/roles/{roleid}")
async def read_role(cluster: Cluster, call: Call) -> dict[str, int]:
    """Privileges of a role, each with the value 1."""
    roles = cluster.access.roles()
    if call["roleid"] not in roles:
        raise missing(f"role '{call['roleid']}'")
    return dict.fromkeys(sorted(roles[call["roleid"]]), 1)


@table.post("access/roles")
async def create_role(cluster: Cluster, call: Call) -> None:
    """Add a custom role."""
    name = call.required("roleid")
    if name in cluster.access.roles():
        raise ApiError(500, f"create role failed: role '{name}' already exists")
    cluster.state.roles[name] = _privileges(call)


@table.put("access/roles/{roleid}")
async def update_role(cluster: Cluster, call: Call) -> None:
    """Replace, or with `append` extend, the privileges of a custom role."""
    before = _custom_role(cluster, call["roleid"])
    new = _privileges(call)
    cluster.state.roles[call["roleid"]] = sorted({*before, *new}) if call.flag("append") else new


@table.delete("access/roles/{roleid}")
async def delete_role(cluster: Cluster, call: Call) -> None:
    """Remove a custom role and its use in access lists."""
    _custom_role(cluster, call["roleid"])
    del cluster.state.roles[call["roleid"]]
    cluster.state.acl = [entry for entry in cluster.state.acl if entry.roleid != call["roleid"]]


def _custom_role(cluster: Cluster, name: str) -> list[str]:
    if name in BUILTIN_ROLES:
        raise ApiError(500, f"auto-generated role '{name}' cannot be modified")
    if name not in cluster.state.roles:
        raise missing(f"role '{name}'")
    return cluster.state.roles[name]


def _privileges(call: Call) -> list[str]:
    names = call.items("privs")
    for name in names:
        if name not in PRIVILEGES:
            raise bad_parameter("privs", f"invalid privilege '{name}'")
    return sorted(set(names))


@table.get("access/acl")
async def read_acl(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The entries on paths where the caller may grant."""
    return [
        {**entry.model_dump(), "propagate": int(entry.propagate)}
        for entry in cluster.state.acl
        if cluster.access.may_grant(call.identity, entry.path)
    ]


@table.put("access/acl")
async def update_acl(cluster: Cluster, call: Call) -> None:
    """Grant roles on a path to users, groups or tokens, or with `delete` take them away."""
    path = "/" + call.required("path").strip("/")
    state, known = cluster.state, cluster.access.roles()
    for role in split_list(call.required("roles")):
        if role not in known:
            raise missing(f"role '{role}'")
        for kind in ("user", "group", "token"):
            for who in call.items(f"{kind}s"):
                _expect_subject(cluster, kind, who)
                state.acl = [
                    entry
                    for entry in state.acl
                    if (entry.path, entry.type, entry.ugid, entry.roleid) != (path, kind, who, role)
                ]
                if not call.flag("delete"):
                    propagate = call.flag("propagate", default=True)
                    state.acl.append(AclEntry(path=path, type=kind, ugid=who, roleid=role, propagate=propagate))


def _expect_subject(cluster: Cluster, kind: str, who: str) -> None:
    user, _, token = who.partition("!")
    account = cluster.state.users.get(user)
    exists = {
        "user": account is not None,
        "group": who in cluster.state.groups,
        "token": account is not None and token in account.tokens,
    }
    if not exists[kind]:
        raise missing(f"{kind} '{who}'")


@table.get("access/groups")
async def list_groups(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The groups that the caller may see."""
    return [
        {"groupid": name, "comment": group.comment, "users": ",".join(_members(cluster, name))}
        for name, group in sorted(cluster.state.groups.items())
        if cluster.access.has(
            call.identity, f"/access/groups/{name}", "User.Modify", "Sys.Audit", "Group.Allocate", any_of=True
        )
    ]


@table.post("access/groups")
async def create_group(cluster: Cluster, call: Call) -> None:
    """Add a group."""
    name = call.required("groupid")
    if name in cluster.state.groups:
        raise ApiError(500, f"create group failed: group '{name}' already exists")
    cluster.state.groups[name] = Group(comment=call.text("comment"))


@table.get("access/groups/{groupid}")
async def read_group(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Comment and members of a group."""
    return {"comment": _group(cluster, call).comment, "members": _members(cluster, call["groupid"])}


@table.put("access/groups/{groupid}")
async def update_group(cluster: Cluster, call: Call) -> None:
    """Change the comment."""
    _group(cluster, call).comment = call.text("comment")


@table.delete("access/groups/{groupid}")
async def delete_group(cluster: Cluster, call: Call) -> None:
    """Remove a group, its memberships and its entries in access lists."""
    _group(cluster, call)
    del cluster.state.groups[call["groupid"]]
    for user in cluster.state.users.values():
        user.groups = [name for name in user.groups if name != call["groupid"]]
    cluster.state.acl = [e for e in cluster.state.acl if (e.type, e.ugid) != ("group", call["groupid"])]


def _group(cluster: Cluster, call: Call) -> Group:
    if call["groupid"] not in cluster.state.groups:
        raise missing(f"group '{call['groupid']}'")
    return cluster.state.groups[call["groupid"]]


def _members(cluster: Cluster, group: str) -> list[str]:
    return sorted(name for name, user in cluster.state.users.items() if group in user.groups)
