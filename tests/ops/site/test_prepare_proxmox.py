"""The one-time setup of Proxmox: least privileges, and the same in the lab."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from config.hosts import Mappings
from config.load import load_site
from config.proxmox_grants import (
    ROLES,
    TOKEN,
    USER,
    calls_after_token,
    calls_before_token,
    required_grants,
    setup_commands,
)
from config.site import Site
from lab.spec import spec_from_site
from ops.__main__ import app
from ops.site.prepare_proxmox import apply_setup
from tests.ops.simulated import simulated

FORBIDDEN = {
    "Permissions.Modify",
    "Sys.Modify",
    "Sys.Console",
    "Datastore.Allocate",
    "VM.GuestAgent.Unrestricted",
    "User.Modify",
    "Pool.Allocate",
}
"""Each of them reaches beyond our own VMs (reliability reference, section 3)."""


@pytest.fixture(name="site", scope="module")
def _site() -> Site:
    return load_site("lab")


def test_no_role_has_a_privilege_beyond_our_own_machines() -> None:
    assert not FORBIDDEN & {name for names in ROLES.values() for name in names}


def test_nothing_is_granted_on_the_root_path(site: Site) -> None:
    assert "/" not in [path for path, _ in required_grants(site)]


def test_managed_mappings_need_one_more_privilege(site: Site) -> None:
    managed = site.model_copy(update={"proxmox": site.proxmox.model_copy(update={"mappings": Mappings.MANAGED})})
    more = set(required_grants(managed)) - set(required_grants(site))
    assert more == {("/mapping/pci", "LyceumMapper")}


def test_the_lab_grants_the_same_as_a_real_campus(site: Site) -> None:
    """Otherwise what works in the lab would lack a privilege on the first real Proxmox."""
    setup = spec_from_site(site, "test").setup
    assert setup
    assert (setup.before_token, setup.after_token) == (calls_before_token(site), calls_after_token(site))


def test_the_user_and_the_token_get_the_same_roles(site: Site) -> None:
    """A token with privilege separation has only privileges that both have."""
    assert all((call.params["users"], call.params["tokens"]) == (USER, TOKEN) for call in calls_after_token(site))


def test_every_mapping_names_group_and_subsystem(site: Site) -> None:
    """Proxmox calls a mapping without them incomplete, and starts no VM with it."""
    maps = [entry for call in calls_before_token(site) for entry in call.params.get("map", ())]
    assert len(maps) == sum(len(node.gpus) for node in site.machines)
    assert all("iommugroup=" in entry and "subsystem-id=" in entry for entry in maps)


def test_the_setup_of_a_new_proxmox_gives_a_token_with_all_privileges(site: Site, tmp_path: Path) -> None:
    with simulated(site, tmp_path, setup=None) as proxmox:
        token = apply_setup(proxmox.root(), site, tmp_path / "pending")
        assert token
        assert token.startswith(f"{TOKEN}=")
        api = proxmox.api(token)
        held = {path: api.send("GET", "access/permissions", {"path": path})[path] for path, _ in required_grants(site)}
        assert all(set(ROLES[role]) <= set(held[path]) for path, role in required_grants(site))
        (tmp_path / "pending").unlink()
        assert apply_setup(proxmox.root(), site, tmp_path / "pending") is None, (
            "a second run changes nothing and creates no second token"
        )


class KilledError(BaseException):
    """Stands for SIGKILL."""


def test_a_setup_killed_after_any_call_is_finished_by_the_next(site: Site, tmp_path: Path) -> None:
    """Also between the creation of a token and its storage: Proxmox shows the secret only once."""
    pending = tmp_path / "pending"
    with simulated(site, tmp_path, setup=None) as proxmox:
        kills, token = 0, None
        while token is None:
            api = proxmox.root()
            left = iter(range(kills))
            send = api.send

            def counted(*arguments: Any, left: Iterator[int] = left, send: Any = send) -> Any:
                answer = send(*arguments)
                if next(left, None) is None:
                    raise KilledError
                return answer

            api.send = counted  # type: ignore[method-assign, assignment]
            try:
                token = apply_setup(api, site, pending)
            except KilledError:
                kills += 1
        assert kills > len(calls_before_token(site)) + len(calls_after_token(site)), (
            "it must be killed after every call"
        )
        held = proxmox.api(token).send("GET", "access/permissions", {"path": required_grants(site)[0][0]})
        assert held, "the stored token must be the one in Proxmox"


def test_the_printed_commands_do_the_same_and_hold_no_secret(site: Site) -> None:
    lines = setup_commands(site)
    assert lines[0] == "pveum pool add lyceum --comment 'Machines of The embedded campus'"
    assert "pveum user token add lyceum@pve lyceum --privsep 1" in lines
    grant = "pveum acl modify /pool/lyceum --roles Lyceum --users lyceum@pve --tokens 'lyceum@pve!lyceum'"
    assert grant in lines
    assert sum("acl modify" in line for line in lines) == len(required_grants(site))


def test_prepare_prints_the_commands() -> None:
    result = CliRunner().invoke(app, ["proxmox", "prepare", "a100-host"])
    assert result.exit_code == 0
    assert "pvesh create /cluster/mapping/pci --id lyceum-k3s-wk-gpu1" in result.output
