"""Which privilege each route asks for, as data.

Read from the `permissions` of each method in the sources of Proxmox VE 9: pve-manager of 2026-08-21, qemu-server of
2026-08-17, pve-storage of 2026-07-24, pve-access-control of 2026-05-15. Where those say "user: all" the handler filters
or checks by itself, because the check depends on values; such routes are listed as `_anyone` with the reason.
"""

from collections.abc import Callable, Mapping

from lab.proxmox.call import Call
from lab.proxmox.errors import ApiError, permission_denied
from lab.proxmox.privileges import Access

Rule = Callable[[Call, Access], None]
"""Raises `ApiError` 403 when the caller does not satisfy it."""


def _anyone(_call: Call, _access: Access) -> None:
    """No privilege is asked for; who calls is known."""


def _perm(path: str, *privileges: str, any_of: bool = False) -> Rule:
    """Privileges on a path whose placeholders come from the route or the parameters."""
    return lambda call, access: access.require(call.identity, _fill(path, call), *privileges, any_of=any_of)


def _check_own(call: Call, _access: Access) -> None:
    """The caller acts on their own account; a token is not its user: it may not create or read the user's tokens."""
    if call.identity.name != _userid(call):
        raise permission_denied("user is not " + _userid(call))


def _check_granting(call: Call, access: Access) -> None:
    """The right to change the access control list at the parameter `path`."""
    if not access.may_grant(call.identity, call.required("path")):
        raise permission_denied(f"{call.text('path')}, Permissions.Modify")


def _all_of(*parts: Rule) -> Rule:
    def check(call: Call, access: Access) -> None:
        for part in parts:
            part(call, access)

    return check


def _either(first: Rule, second: Rule) -> Rule:
    def check(call: Call, access: Access) -> None:
        try:
            first(call, access)
        except ApiError:
            second(call, access)

    return check


def _node(*privileges: str) -> Rule:
    return _perm("/nodes/{node}", *privileges)


def _vm(*privileges: str, any_of: bool = False) -> Rule:
    return _perm("/vms/{vmid}", *privileges, any_of=any_of)


def _agent(privilege: str) -> Rule:
    return _vm(privilege, "VM.GuestAgent.Unrestricted", any_of=True)


def _storage(*privileges: str) -> Rule:
    return _perm("/storage/{storage}", *privileges, any_of=len(privileges) > 1)


_SEE_STORAGE = _storage("Datastore.Audit", "Datastore.AllocateSpace")
_CLUSTER_AUDIT = _perm("/", "Sys.Audit")
_DOWNLOAD = _either(_perm("/", "Sys.Audit", "Sys.Modify"), _node("Sys.AccessNetwork"))
_USERS = _perm("/access/groups", "User.Modify")
_REALM = _perm("/access/realm/{realm}", "Realm.AllocateUser")
_ROLES = _perm("/access", "Sys.Modify")
_POOL = _perm("/pool/{poolid}", "Pool.Allocate")
_OPTIONS = ("Disk", "CDROM", "CPU", "Memory", "Network", "HWType", "Options", "Cloudinit")
_CONFIG = _vm(*(f"VM.Config.{kind}" for kind in _OPTIONS), any_of=True)
_QEMU = "nodes/{node}/qemu"
_STORE = "nodes/{node}/storage"
_TOKENS = "access/users/{userid}/token"

RULES: Mapping[tuple[str, str], Rule] = {
    ("GET", "access/permissions"): _anyone,  # own permissions
    ("POST", "access/users"): _all_of(_REALM, _USERS),
    ("GET", _TOKENS): _either(_check_own, _USERS),
    ("POST", _TOKENS + "/{tokenid}"): _either(_check_own, _USERS),
    ("DELETE", _TOKENS + "/{tokenid}"): _either(_check_own, _USERS),
    ("POST", "access/roles"): _ROLES,
    ("PUT", "access/roles/{roleid}"): _ROLES,
    ("PUT", "access/acl"): _check_granting,
    ("GET", "version"): _anyone,
    ("GET", "cluster/status"): _CLUSTER_AUDIT,
    ("GET", "cluster/resources"): _anyone,  # filtered
    ("GET", "cluster/nextid"): _anyone,
    ("GET", "cluster/mapping/pci"): _anyone,  # filtered
    ("POST", "cluster/mapping/pci"): _perm("/mapping/pci", "Mapping.Modify"),
    ("GET", "cluster/mapping/pci/{id}"): _perm(
        "/mapping/pci/{id}", "Mapping.Use", "Mapping.Modify", "Mapping.Audit", any_of=True
    ),
    ("PUT", "cluster/mapping/pci/{id}"): _perm("/mapping/pci/{id}", "Mapping.Modify"),
    ("DELETE", "cluster/mapping/pci/{id}"): _perm("/mapping/pci", "Mapping.Modify"),
    ("GET", "pools"): _anyone,  # filtered by Pool.Audit
    ("POST", "pools"): _POOL,
    ("PUT", "pools"): _POOL,  # members need the right to change permissions on them too
    ("GET", "nodes"): _anyone,  # figures only with Sys.Audit on the node
    ("GET", "nodes/{node}/status"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/time"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/dns"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/hardware/pci"): _perm("/", "Sys.Audit", "Sys.Modify", any_of=True),
    ("GET", "nodes/{node}/query-url-metadata"): _DOWNLOAD,
    ("GET", "nodes/{node}/network"): _anyone,
    ("GET", "nodes/{node}/tasks"): _anyone,  # own tasks; all with Sys.Audit on the node
    ("GET", "nodes/{node}/tasks/{upid}/status"): _anyone,
    ("GET", "nodes/{node}/tasks/{upid}/log"): _anyone,
    ("GET", _STORE): _anyone,  # filtered
    ("GET", _STORE + "/{storage}/content"): _SEE_STORAGE,
    ("GET", _STORE + "/{storage}/content/{volume}"): _anyone,  # read access to the volume
    ("POST", _STORE + "/{storage}/download-url"): _all_of(_storage("Datastore.AllocateTemplate"), _DOWNLOAD),
    ("POST", _QEMU): _anyone,  # VM.Allocate on the VM or its pool, then by option
    ("DELETE", _QEMU + "/{vmid}"): _vm("VM.Allocate"),
    ("GET", _QEMU + "/{vmid}/config"): _vm("VM.Audit"),
    ("PUT", _QEMU + "/{vmid}/config"): _CONFIG,  # then by option
    ("PUT", _QEMU + "/{vmid}/cloudinit"): _vm("VM.Config.Cloudinit"),
    ("PUT", _QEMU + "/{vmid}/resize"): _vm("VM.Config.Disk"),
    ("GET", _QEMU + "/{vmid}/status/current"): _vm("VM.Audit"),
    ("POST", _QEMU + "/{vmid}/status/start"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/stop"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/shutdown"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/reboot"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/agent/ping"): _agent("VM.GuestAgent.Audit"),
    ("GET", _QEMU + "/{vmid}/agent/file-read"): _agent("VM.GuestAgent.FileRead"),
}
"""Method and route pattern to what it asks for. A test holds that every route has a rule and every rule a route."""


def _userid(call: Call) -> str:
    return call.names.get("userid") or call.text("userid")


_DERIVED: Mapping[str, Callable[[Call], str]] = {
    "{realm}": lambda call: _userid(call).rpartition("@")[2],
    "{poolid}": lambda call: call.text("poolid", "-"),
}


def _fill(path: str, call: Call) -> str:
    for name, value in call.names.items():
        path = path.replace("{" + name + "}", value)
    for placeholder, value_of in _DERIVED.items():
        if placeholder in path:
            path = path.replace(placeholder, value_of(call))
    return path
