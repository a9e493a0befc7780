"""The operators' machine as a component: after the cluster, with its kubeconfig, and known to the servers by one key."""

import json
import re

import pulumi
import pytest

from components.cluster.maintenance import Maintenance, MaintenanceArgs
from components.cluster.snapshot_access import SnapshotAccess
from components.handles import Login, NodeHandle
from tests.support.mocks import Graph, build
from tests.support.program import SEED, program
from tests.support.sites import SMALL, site

OPERATORS = {"name": "ops-1", "role": "maintenance", "host": "pve1", "shape": "server", "address": "10.9.0.99"}
SITE = site({"nodes": [*SMALL["nodes"], OPERATORS]})
COMMAND = "command:remote:Command"
SECRETS = ("private-key", "clients-key", "backup-key")


@pytest.fixture(scope="module")
def graph() -> Graph:
    def machines(*, members: bool) -> tuple[NodeHandle, ...]:
        return tuple(
            NodeHandle(spec=node, host_key=pulumi.Output.from_input(f"ssh-ed25519 KEY-OF-{node.name}"))
            for node in SITE.machines
            if node.in_cluster is members
        )

    def run() -> None:
        access = SnapshotAccess(
            private_key=pulumi.Output.secret("backup-key"),
            public_key=pulumi.Output.from_input("ecdsa"),
            seed_fingerprint=pulumi.Output.from_input("f1n6e2"),
            stack="prod",
        )
        args = MaintenanceArgs(
            site=SITE,
            machines=machines(members=False),
            members=machines(members=True),
            login=Login(user="lyceum", private_key=pulumi.Output.secret("private-key")),
            kubeconfig=pulumi.Output.secret("key: clients-key"),
            snapshot_access=access,
            ca="",
        )
        Maintenance("maintenance", args)

    return build(run)


def test_an_operators_machine_keeps_the_house_rules(graph: Graph) -> None:
    assert graph.orphans == []
    assert graph.unfinished == []
    assert graph.leaks(*SECRETS) == []


def test_it_costs_one_command_with_everything_on_standard_input(graph: Graph) -> None:
    [command] = graph.of_type(COMMAND)

    assert command.name == "ops-1-maintenance"
    assert command.inputs["create"].startswith("sudo -n bash -s")
    assert command.inputs["connection"]["hostKey"] == "ssh-ed25519 KEY-OF-ops-1"
    assert command.inputs["triggers"] == ["ssh-ed25519 KEY-OF-ops-1"], "another machine is told everything again"
    assert all(secret in command.inputs["stdin"] for secret in SECRETS[1:])


def test_it_copies_from_servers_alone_and_keeps_what_the_site_keeps(graph: Graph) -> None:
    [command] = graph.of_type(COMMAND)
    text = re.search(
        r"^keep 0644 /etc/lyceum/backup/settings.json <<'(\w+)'\n(.*?)\n\1$",
        command.inputs["stdin"],
        re.MULTILINE | re.DOTALL,
    )
    assert text
    settings = json.loads(text[2])

    assert settings["servers"] == {f"server-{n}": f"10.9.0.3{n}" for n in (1, 2, 3)}
    assert (settings["keep"], settings["seed"], settings["stack"]) == (5, "f1n6e2", "prod"), "R31"


def test_the_a100_host_has_its_operators_machine() -> None:
    """R21: k3s-maint is after the cluster and outside it; every server knows its key, no worker does."""
    graph = program("a100-host", "all")
    command = graph.one(COMMAND, "k3s-maint-maintenance")
    key = 'restrict,from="10.21.0.42",command="/usr/local/sbin/lyceum-snapshots" ecdsa-sha2-nistp256 '

    assert graph.one(COMMAND, "k3s-members").urn in graph.before(command)
    for number in (1, 2, 3):
        assert key in graph.one(COMMAND, f"k3s-cp{number}-k3s").inputs["stdin"]
    for number in (1, 2, 3, 4):
        assert "ecdsa-sha2-nistp256" not in graph.one(COMMAND, f"k3s-wk-gpu{number}-k3s").inputs["stdin"]
    assert SEED not in command.inputs["stdin"]


def test_when_the_operators_machine_leaves_its_key_goes() -> None:
    graph = program("a100-host", "all", ("lyceum:out-of-service", '["k3s-maint"]'))

    assert [one.name for one in graph.of_type(COMMAND) if "maint" in one.name] == []
    assert "ecdsa-sha2-nistp256" not in graph.one(COMMAND, "k3s-cp1-k3s").inputs["stdin"]
    assert "\nbackup_access lyceum-backup /var/lib/lyceum-backup\n" in graph.one(COMMAND, "k3s-cp1-k3s").inputs["stdin"]
