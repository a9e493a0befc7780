"""Privileges, roles and access control lists of Proxmox VE 9.

Facts from pve-access-control of 2026-05-15: names and built-in roles from `AccessControl.pm` ($privgroups,
create_roles), the walk along a path from `roles`, pools and privilege separation of tokens from `RPCEnvironment.pm`.
"""

from collections.abc import Iterable, Mapping

from lab.proxmox.call import Identity
from lab.proxmox.errors import permission_denied
from lab.proxmox.state import ClusterState

_AREAS: Mapping[str, tuple[str, str, str, str]] = {
    "VM": (
        "",
        (
            "Config.Disk Config.CPU Config.Memory Config.Network Config.HWType Config.Options "
            "Allocate Clone GuestAgent.Unrestricted Migrate Replicate Snapshot Snapshot.Rollback"
        ),
        (
            "Config.CDROM Config.Cloudinit Console Backup PowerMgmt "
            "GuestAgent.FileRead GuestAgent.FileSystemMgmt GuestAgent.FileWrite"
        ),
        "Audit GuestAgent.Audit",
    ),
    "Sys": ("PowerMgmt Modify Incoming AccessNetwork", "Console Syslog", "", "Audit"),
    "Datastore": ("", "Allocate AllocateTemplate", "AllocateSpace", "Audit"),
    "SDN": ("", "Allocate Audit", "Use", "Audit"),
    "User": ("Realm.Allocate", "User.Modify Group.Allocate Realm.AllocateUser", "", ""),
    "Pool": ("", "Allocate", "Audit", "Audit"),
    "Mapping": ("", "Modify", "Use", "Audit"),
}
"""Root, admin, user and audit privileges of each area. Built-in roles are cut from these classes."""


def _expand(area: str, names: str) -> set[str]:
    """Full names; the area of users has three kinds, all others their own name in front of each."""
    return {name if area == "User" else f"{area}.{name}" for name in names.split()}


PRIVILEGES: frozenset[str] = frozenset(
    {"Permissions.Modify"}.union(*(_expand(area, names) for area, classes in _AREAS.items() for names in classes))
)
"""Every privilege that Proxmox VE 9 knows; `VM.Monitor` of version 8 is gone."""


def _builtin_roles() -> dict[str, frozenset[str]]:
    roles: dict[str, set[str]] = {"NoAccess": set(), "Administrator": set(PRIVILEGES), "PVEAdmin": set()}
    auditor = roles.setdefault("PVEAuditor", set())
    for area, (_root, *classes) in _AREAS.items():
        admin, user, audit = (_expand(area, names) for names in classes)
        roles[f"PVE{area}Admin"] = admin | user | audit
        roles["PVEAdmin"] |= roles[f"PVE{area}Admin"]
        if user:
            roles[f"PVE{area}User"] = user | audit
        auditor.update(audit)
    roles["PVEAdmin"] -= {"Mapping.Modify"}
    return {name: frozenset(privileges) for name, privileges in roles.items()}


BUILTIN_ROLES: Mapping[str, frozenset[str]] = _builtin_roles()
"""Roles that cannot be changed, by name."""

_COMMON_PATHS = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")


class Access:
    """Answers who may do what, from the state's access control list."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def roles(self) -> dict[str, frozenset[str]]:
        """All roles with their privileges."""
        return {**BUILTIN_ROLES, **{name: frozenset(names) for name, names in self._state.roles.items()}}

    def privileges(self, who: Identity, path: str) -> dict[str, bool]:
        """What `who` holds on `path`.

        Returns:
            Privilege to "also holds below this path". A privilege-separated token holds only what its user holds too.
        """
        if who.user == "root@pam" and who.token is None:
            return dict.fromkeys(PRIVILEGES, True)
        owner = Identity(who.user)
        if who.token is None:
            return self._held(who, path)
        account = self._state.users.get(who.user)
        token = account.tokens.get(who.token) if account else None
        if token is None:
            return {}
        of_owner = self.privileges(owner, path)
        if not token.privsep:
            return of_owner
        return {name: below and of_owner[name] for name, below in self._held(who, path).items() if name in of_owner}

    def has(self, who: Identity, path: str, *privileges: str, any_of: bool = False) -> bool:
        """Whether all (or with `any_of` at least one) of the privileges are held on the path."""
        held = self.privileges(who, path)
        return (any if any_of else all)(name in held for name in privileges)

    def require(self, who: Identity, path: str, *privileges: str, any_of: bool = False) -> None:
        """Raise `ApiError` 403 naming the path and what is missing."""
        held = self.privileges(who, path)
        if any_of:
            if not any(name in held for name in privileges):
                raise permission_denied(f"{path}, {'|'.join(privileges)}")
            return
        for name in privileges:
            if name not in held:
                raise permission_denied(f"{path}, {name}")

    def require_vm(self, who: Identity, vmid: int, pool: str | None, *privileges: str, any_of: bool = False) -> None:
        """Like `require` on `/vms/<vmid>`, satisfied too by the pool that a VM is about to join."""
        if pool and self.has(who, f"/pool/{pool}", *privileges, any_of=any_of):
            return
        self.require(who, f"/vms/{vmid}", *privileges, any_of=any_of)

    def may_grant(self, who: Identity, path: str) -> bool:
        """Whether `who` may change the access control list at `path`."""
        area = path.split("/")[1] if path.count("/") >= 2 else ""
        owner = {"storage": "Datastore.Allocate", "vms": "VM.Allocate", "pool": "Pool.Allocate"}.get(area)
        return self.has(who, path, "Permissions.Modify", *([owner] if owner else []), any_of=True)

    def effective(self, who: Identity) -> dict[str, dict[str, bool]]:
        """Everything that `who` holds, by path: the common paths, those of the list, and members of pools."""
        paths = {*_COMMON_PATHS, *(entry.path for entry in self._state.acl)}
        for pool in self._state.pools.values():
            paths |= {f"/vms/{vmid}" for vmid in pool.vms}
        held = {path: self.privileges(who, path) for path in sorted(paths)}
        return {path: privileges for path, privileges in held.items() if privileges}

    def _held(self, who: Identity, path: str) -> dict[str, bool]:
        """Privileges from roles on the path and, for members, on their pool; no privilege separation yet."""
        roles = self._roles_at(who, path)
        inherited = self._pool_roles(who, path)
        if "NoAccess" in roles or "NoAccess" in inherited:
            return {}
        known = self.roles()
        held: dict[str, bool] = {}
        # What comes from a pool never propagates; what the path itself says wins.
        for role, below in {**dict.fromkeys(inherited, False), **roles}.items():
            for name in known.get(role, frozenset()):
                held[name] = held.get(name, False) or below
        return held

    def _pool_roles(self, who: Identity, path: str) -> Iterable[str]:
        area, _, member = path.strip("/").partition("/")
        for name, pool in self._state.pools.items():
            if area == "vms" and member in map(str, pool.vms):
                return self._roles_at(who, f"/pool/{name}")
        return ()

    def _roles_at(self, who: Identity, path: str) -> dict[str, bool]:
        """Roles that apply at a path, with their propagation: the deepest entry on the way down replaces the rest."""
        kind = "token" if who.token is not None else "user"
        steps = [step for step in path.split("/") if step]
        stops = ["/", *("/" + "/".join(steps[: depth + 1]) for depth in range(len(steps)))]
        roles: dict[str, bool] = {}
        for stop in stops:
            found = {
                entry.roleid: entry.propagate
                for entry in self._state.acl
                if (entry.path, entry.type, entry.ugid) == (stop, kind, who.name)
                and (entry.propagate or stop == stops[-1])
            }
            roles = found or roles
        return roles
