"""The cluster as a component: who runs which script, with which token, after whom."""

import pulumi
import pytest

from components.cluster import bootstrap
from components.cluster.k3s import K3s, K3sArgs
from components.handles import Login, NodeHandle
from tests.support.mocks import Graph, Registered, build
from tests.support.sites import site

SITE = site()
COMMAND = "command:remote:Command"
HASH = "ca" * 32
SECRETS = ("server-token", "agent-token", "private-key", "clients-key")


def cluster(known_ca: str = "") -> Graph:
    def program() -> None:
        machines = tuple(
            NodeHandle(spec=node, host_key=pulumi.Output.from_input(f"ssh-ed25519 KEY-OF-{node.name}"))
            for node in SITE.machines
        )
        k3s = K3s(
            "k3s",
            K3sArgs(
                site=SITE,
                machines=machines,
                login=Login(user="lyceum", private_key=pulumi.Output.secret("private-key")),
                token=pulumi.Output.secret("server-token"),
                agent_token=pulumi.Output.secret("agent-token"),
                ca="",
                known_ca=known_ca,
            ),
        )
        pulumi.export("kubeconfig", k3s.access.kubeconfig)
        pulumi.export("ca", k3s.ca)

    def answers(one: Registered) -> dict[str, str]:
        kubeconfig = "server: https://127.0.0.1:6443\nkey: clients-key\n"
        return {"stdout": f"{HASH}\n{kubeconfig}"} if one.name == "server-1-k3s" else {"stdout": ""}

    return build(program, answers=answers)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cluster()


def script(graph: Graph, name: str) -> str:
    text: str = graph.one(COMMAND, name).inputs["stdin"]
    return text


def test_a_cluster_keeps_the_house_rules(graph: Graph) -> None:
    assert graph.orphans == []
    assert graph.unfinished == []
    assert graph.duplicates == []
    assert graph.leaks(*SECRETS) == []


def test_each_machine_costs_one_command(graph: Graph) -> None:
    names = [one.name for one in graph.of_type(COMMAND)]

    assert names == sorted([*(f"{node.name}-k3s" for node in SITE.machines), "k3s-members"])


def test_the_first_server_of_the_file_founds_and_the_others_join(graph: Graph) -> None:
    assert "\nfounder https://10.9.0.30:6443 server-token ''\n" in script(graph, "server-1-k3s")
    for name in ("server-2-k3s", "server-3-k3s"):
        assert f"\njoiner https://10.9.0.30:6443 K10{HASH}::server:server-token\n" in script(graph, name)


def test_agents_join_with_their_own_token_and_never_see_the_servers(graph: Graph) -> None:
    """The server token decrypts every etcd snapshot."""
    for name in ("gpu-1-k3s", "gpu-2-k3s"):
        assert f"\njoiner https://10.9.0.30:6443 K10{HASH}::node:agent-token\n" in script(graph, name)
        assert "server-token" not in script(graph, name)


def test_a_known_ca_reaches_the_founder_alone() -> None:
    graph = cluster(known_ca="ab" * 32)

    assert f"\nfounder https://10.9.0.30:6443 server-token {'ab' * 32}\n" in script(graph, "server-1-k3s")
    assert "ab" * 32 not in script(graph, "server-2-k3s")


def test_each_connection_is_pinned_to_its_own_machines_key(graph: Graph) -> None:
    """Without `hostKey` the plugin trusts whoever answers."""
    pinned = {one.name: one.inputs["connection"]["hostKey"] for one in graph.of_type(COMMAND)}

    assert pinned["gpu-2-k3s"] == "ssh-ed25519 KEY-OF-gpu-2"
    assert pinned["k3s-members"] == "ssh-ed25519 KEY-OF-server-1"


def test_another_host_key_runs_the_script_again(graph: Graph) -> None:
    for one in graph.of_type(COMMAND):
        assert one.inputs["triggers"] == [one.inputs["connection"]["hostKey"]]


def test_the_script_travels_on_standard_input(graph: Graph) -> None:
    assert {one.inputs["create"] for one in graph.of_type(COMMAND)} == {bootstrap.run_as_root()}


def test_the_kubeconfig_names_the_address_that_moves_and_is_secret(graph: Graph) -> None:
    assert graph.exports()["kubeconfig"] == "server: https://10.9.0.30:6443\nkey: clients-key\n"
    assert graph.leaks("clients-key") == []


def test_what_a_node_prints_is_kept_secret_in_the_state(graph: Graph) -> None:
    """The plugin hides only the connection."""
    assert [one.name for one in graph.of_type(COMMAND) if "stdout" not in one.request.additionalSecretOutputs] == []


def test_the_hash_of_the_ca_is_no_secret(graph: Graph) -> None:
    """It is public, and operators compare it."""
    assert graph.leaks(HASH) != []
    assert graph.exports()["ca"] == HASH


def test_no_cluster_no_kubeconfig_before_every_node_is_ready(graph: Graph) -> None:
    """What is built on the kubeconfig is built on all nodes."""
    members = graph.before(graph.one(COMMAND, "k3s-members"))

    assert {graph.one(COMMAND, f"{node.name}-k3s").urn for node in SITE.machines} <= members


def test_a_command_ends_within_its_time(graph: Graph) -> None:
    for one in graph.of_type(COMMAND):
        assert (one.request.customTimeouts.create, one.request.customTimeouts.update) == ("20m", "20m")
