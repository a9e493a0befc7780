"""Who may do what: roles, paths, pools, privilege-separated tokens, and the least set that Lyceum needs."""

import pytest

from config.proxmox_grants import ROLES
from lab.proxmox.call import ROOT, Identity
from lab.proxmox.permissions import RULES
from lab.proxmox.privileges import BUILTIN_ROLES, PRIVILEGES, Access
from lab.proxmox.routes import TABLES
from lab.proxmox.state import AclEntry, ApiToken, ClusterState, Pool, User
from tests.lab.proxmox.campus import Campus, Refused, image_call, make_spec

ADA = Identity("ada@pve")
ADAS_TOKEN = Identity("ada@pve", "t")


def cluster(*entries: tuple[str, str, str], privsep: bool = True) -> Access:
    """Ada and her token; entries are path, who (`!` for the token, or Ada), role with `-` for "does not propagate"."""
    state = ClusterState()
    state.users["ada@pve"] = User(tokens={"t": ApiToken(digest="", privsep=privsep)})
    state.pools["ai"] = Pool(vms=[100])
    for path, who, role in entries:
        kind, ugid = ("token", "ada@pve!t") if who == "!" else ("user", "ada@pve")
        entry = AclEntry(path=path, type=kind, ugid=ugid, roleid=role.rstrip("-"), propagate=not role.endswith("-"))
        state.acl.append(entry)
    return Access(state)


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    routes = {(route.method, route.pattern) for table in TABLES for route in table.routes}

    assert routes == set(RULES)


def test_privileges_are_those_of_version_9() -> None:
    assert "VM.Monitor" not in PRIVILEGES, "gone with version 9"
    assert {"VM.GuestAgent.FileRead", "VM.Replicate"} <= PRIVILEGES
    assert BUILTIN_ROLES["PVEVMAdmin"] >= {"VM.Allocate", "VM.PowerMgmt", "VM.Audit"}
    assert "Mapping.Modify" not in BUILTIN_ROLES["PVEAdmin"]
    assert "Permissions.Modify" in BUILTIN_ROLES["Administrator"]


def test_root_by_ticket_may_everything_and_nobody_else_anything() -> None:
    access = cluster()

    assert access.has(ROOT, "/", *PRIVILEGES)
    assert access.effective(ADA) == {}


def test_a_role_reaches_down_only_when_it_propagates() -> None:
    access = cluster(("/vms", "", "PVEVMUser"), ("/nodes", "", "PVEAuditor-"))

    assert access.has(ADA, "/vms/100", "VM.PowerMgmt")
    assert access.has(ADA, "/nodes", "Sys.Audit")
    assert not access.has(ADA, "/nodes/pve1", "Sys.Audit")


def test_a_deeper_entry_replaces_what_came_from_above() -> None:
    access = cluster(("/vms", "", "PVEVMAdmin"), ("/vms/100", "", "PVEAuditor"))

    assert not access.has(ADA, "/vms/100", "VM.Allocate")
    assert access.has(ADA, "/vms/100", "VM.Audit")


def test_no_access_wins() -> None:
    access = cluster(("/vms/100", "", "PVEVMAdmin"), ("/vms/100", "", "NoAccess"))

    assert access.privileges(ADA, "/vms/100") == {}


def test_a_pool_gives_its_roles_to_its_members() -> None:
    access = cluster(("/pool/ai", "", "PVEVMUser"))

    assert access.has(ADA, "/vms/100", "VM.PowerMgmt")
    assert not access.has(ADA, "/vms/101", "VM.PowerMgmt"), "101 is no member"


def test_a_separated_token_holds_what_both_hold() -> None:
    access = cluster(("/vms", "", "PVEVMUser"), ("/vms", "!", "PVEVMAdmin"))

    assert access.has(ADAS_TOKEN, "/vms/1", "VM.PowerMgmt")
    assert not access.has(ADAS_TOKEN, "/vms/1", "VM.Allocate"), "the user does not hold it"
    assert not cluster(("/vms", "", "PVEVMUser")).has(ADAS_TOKEN, "/vms/1", "VM.PowerMgmt"), "the token has no entry"


def test_a_token_without_separation_is_its_user() -> None:
    access = cluster(("/vms", "", "PVEVMUser"), privsep=False)

    assert access.has(ADAS_TOKEN, "/vms/1", "VM.PowerMgmt")


@pytest.mark.anyio
async def test_lyceums_token_holds_exactly_what_was_prepared(campus: Campus) -> None:
    """The table is written out here on purpose: whoever widens it has to do so twice."""
    held = await campus.token.get("access/permissions")

    assert {path: sorted(privileges) for path, privileges in held.items()} == {
        "/pool/lyceum": [
            "Pool.Audit",
            "VM.Allocate",
            "VM.Audit",
            "VM.Config.CDROM",
            "VM.Config.CPU",
            "VM.Config.Cloudinit",
            "VM.Config.Disk",
            "VM.Config.HWType",
            "VM.Config.Memory",
            "VM.Config.Network",
            "VM.Config.Options",
            "VM.GuestAgent.Audit",
            "VM.GuestAgent.FileRead",
            "VM.PowerMgmt",
        ],
        "/nodes/pve1": ["Sys.AccessNetwork", "Sys.Audit"],
        "/nodes/pve2": ["Sys.AccessNetwork", "Sys.Audit"],
        "/storage/local": ["Datastore.AllocateTemplate", "Datastore.Audit"],
        "/storage/local-lvm": ["Datastore.AllocateSpace", "Datastore.Audit"],
        "/sdn/zones/localnetwork/vmbr0": ["SDN.Use"],
        "/mapping/pci/a100-0": ["Mapping.Audit", "Mapping.Use"],
        "/mapping/pci/a100-1": ["Mapping.Audit", "Mapping.Use"],
    }


async def whole_life(campus: Campus) -> None:
    """Everything that Lyceum asks of Proxmox, once; raises at the first refusal."""
    client, vm = campus.token, "nodes/pve1/qemu/100"

    async def done(method: str, path: str, **params: object) -> None:
        status = await client.task(method, path, **params)
        if status != "OK":
            raise AssertionError(status)

    await client.get("nodes/pve1/status")
    image = image_call()
    await client.get("nodes/pve1/query-url-metadata", url=image["url"])
    await done("POST", "nodes/pve1/storage/local/download-url", **image)
    if not await client.get("nodes/pve1/storage/local/content", content="import"):
        raise AssertionError("403 Permission check failed (/storage/local, Datastore.Audit)")
    await done(
        "POST",
        "nodes/pve1/qemu",
        vmid=100,
        pool="lyceum",
        name="gpu1",
        memory=4096,
        cores=4,
        machine="q35",
        boot="order=scsi0",
        scsi0="local-lvm:0,import-from=local:import/debian-13.qcow2",
        ide0="none,media=cdrom",
        ide2="local-lvm:cloudinit",
        net0="virtio,bridge=vmbr0",
        ciuser="lyceum",
        hostpci0="mapping=a100-0,pcie=1",
        agent="1",
    )
    if not await client.get("cluster/resources", type="vm"):
        raise AssertionError("403 Permission check failed (/vms/100, VM.Audit)")
    config = await client.get(f"{vm}/config")
    await client.get(f"nodes/pve1/storage/local-lvm/content/{config['scsi0'].partition(',')[0]}")
    await client.get("pools", poolid="lyceum")
    if not await client.get("cluster/mapping/pci"):
        raise AssertionError("403 Permission check failed (/mapping/pci/a100-0, Mapping.Use)")
    await done("POST", f"{vm}/status/start")
    campus.hypervisor.files["/key"] = "key"
    await client.post(f"{vm}/agent/ping")
    await client.get(f"{vm}/agent/file-read", file="/key")
    await client.put(f"{vm}/config", tags="x", ide0="none,media=cdrom", scsi1="local-lvm:10")
    await client.put(f"{vm}/cloudinit")
    await done("PUT", f"{vm}/resize", disk="scsi0", size="40G")
    await done("POST", f"{vm}/status/stop")
    await done("DELETE", vm)


@pytest.mark.anyio
async def test_the_prepared_privileges_suffice_for_a_machines_whole_life(campus: Campus) -> None:
    await whole_life(campus)
    assert campus.px.cluster.state.vms == {}


HELD_TWICE = {"Mapping.Audit"}
"""Granted beside Mapping.Use, which includes seeing the mapping: the doctor may then list what it may not use."""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("role", "privilege"),
    [
        (role, name)
        for role, names in ROLES.items()
        for name in names
        if name not in HELD_TWICE and role != "LyceumMapper"
    ],
)
async def test_without_any_one_privilege_something_is_refused_and_it_is_named(
    campus: Campus, role: str, privilege: str
) -> None:
    """The set is the least: each member is needed, and the refusal says which one is missing."""
    campus.px.cluster.state.roles[role].remove(privilege)

    with pytest.raises(AssertionError) as refusal:
        await whole_life(campus)

    assert privilege in str(refusal.value)


@pytest.mark.anyio
async def test_lists_show_only_what_may_be_seen(campus: Campus) -> None:
    """An empty list is no proof of absence: the provider must not take it for one."""
    root = await campus.root()
    await root.task("POST", "nodes/pve1/qemu", vmid=900, name="somebody-elses")
    await root.post("cluster/mapping/pci", id="theirs", map="id=10de:20f1,node=pve1,path=0000:41:00.0")
    await root.post("pools", poolid="theirs")

    assert await campus.token.get("cluster/resources", type="vm") == []
    assert [entry["id"] for entry in await campus.token.get("cluster/mapping/pci")] == ["a100-0", "a100-1"]
    assert [entry["poolid"] for entry in await campus.token.get("pools")] == ["lyceum"]
    assert len(await root.get("cluster/resources", type="vm")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"hostpci0": "0000:41:00.0,pcie=1"}, "only root can set 'hostpci0' config for non-mapped devices"),
        ({"hostpci0": "mapping=theirs"}, r"/mapping/pci/theirs, Mapping.Use"),
        ({"args": "-cpu host"}, "only root can set 'args' config"),
        ({"startup": "order=1"}, r"Permission check failed \(/, Sys.Modify\)"),
        ({"ide3": "cdrom,media=cdrom"}, r"Permission check failed \(/, Sys.Console\)"),
        ({"net0": "virtio,bridge=vmbr7"}, "/sdn/zones/localnetwork/vmbr7, SDN.Use"),
        ({"scsi0": "local:10"}, "/storage/local, Datastore.AllocateSpace"),
        ({"cicustom": "user=local:snippets/u.yaml"}, "missing privileges to access local:snippets/u.yaml"),
        ({"serial0": "/dev/ttyS0"}, "only root can set 'serial0' config for real devices"),
    ],
)
async def test_what_lyceum_must_not_set_is_refused_in_the_words_of_proxmox(
    campus: Campus, options: dict[str, str], refusal: str
) -> None:
    with pytest.raises(Refused, match=refusal):
        await campus.token.post("nodes/pve1/qemu", vmid=100, pool="lyceum", **options)
    assert campus.px.cluster.state.vms == {}


@pytest.mark.anyio
async def test_a_raw_device_is_fine_for_root_by_ticket(campus: Campus) -> None:
    root = await campus.root()
    await root.vm(machine="q35", hostpci0="0000:41:00.0,pcie=1")
    assert await root.task("POST", "nodes/pve1/qemu/100/status/start") == "OK"


@pytest.mark.anyio
async def test_a_vm_outside_the_pool_cannot_be_made_or_touched(campus: Campus) -> None:
    root = await campus.root()
    await root.task("POST", "nodes/pve1/qemu", vmid=900)

    with pytest.raises(Refused, match=r"403 .*/vms/100, VM.Allocate"):
        await campus.token.post("nodes/pve1/qemu", vmid=100)
    for method, path in (("GET", "config"), ("POST", "status/start"), ("DELETE", "")):
        with pytest.raises(Refused, match=r"403 .*\(/vms/900, VM\."):
            await campus.token.call(method, f"nodes/pve1/qemu/900/{path}")


def test_the_set_up_grants_nothing_on_the_root_of_all_paths() -> None:
    """Nothing on `/`, and none of the privileges that reach beyond the site's own machines."""
    setup = make_spec().setup
    assert setup is not None
    granted = {name for call in setup.before_token for name in str(call.params.get("privs", "")).split(",")}

    assert "/" not in [call.params["path"] for call in setup.after_token]
    assert not granted & {
        "Permissions.Modify",
        "Sys.Modify",
        "Sys.Console",
        "Datastore.Allocate",
        "VM.GuestAgent.Unrestricted",
    }


@pytest.mark.anyio
async def test_nobody_pulls_a_machine_into_his_pool_that_he_could_not_grant_on(campus: Campus) -> None:
    """Membership gives the pool's roles on the machine, so adding one is granting."""
    root = await campus.root()
    await root.task("POST", "nodes/pve1/qemu", vmid=900)
    campus.px.cluster.state.roles["Lyceum"].append("Pool.Allocate")

    with pytest.raises(Refused, match=r"403 .*/vms/900, Permissions.Modify"):
        await campus.token.put("pools", poolid="lyceum", vms="900")
    await root.put("pools", poolid="lyceum", vms="900")
    assert (await campus.token.get("pools", poolid="lyceum"))[0]["members"][0]["vmid"] == 900


@pytest.mark.anyio
async def test_a_nodes_figures_are_for_those_who_may_audit_it(campus: Campus) -> None:
    assert "maxmem" in (await campus.token.get("nodes"))[0]
    campus.px.cluster.state.roles["LyceumNode"].remove("Sys.Audit")

    listed = (await campus.token.get("nodes"))[0]

    assert (listed["node"], "maxmem" in listed) == ("pve1", False)
