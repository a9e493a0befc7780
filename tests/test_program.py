"""The whole program, for every site at every stage: what must hold whatever a campus looks like."""

import json
from itertools import pairwise
from pathlib import Path

import pulumi
import pytest
import yaml

from config.key_derivation import derive_password
from config.layer_record import LayerRecord
from config.layers import LAYERS, installed_releases, is_installed, record_of
from config.load import load_site
from config.paths import PROJECT
from config.site import Site
from tests.support import golden
from tests.support.mocks import Graph, Registered
from tests.support.program import (
    ADMIN_KEY,
    ALL_SITES,
    EVERY,
    PROXMOX_TOKEN,
    SEED,
    SENTINELS,
    STACKS,
    program,
    stack,
    stages,
)

RELEASE = "kubernetes:helm.sh/v3:Release"
VM = "proxmoxve:index/vmLegacy:VmLegacy"
COMMAND = "command:remote:Command"

every = pytest.mark.parametrize(("site", "stage"), EVERY)
"""Every site at every stage, those of the dev and prod stacks among them."""

GROWS = {
    "k3s-members": "the last command waits for every node and gives it its role",
    "rook-ceph-cluster": "Ceph is told each node and its disk by name",
    "clusterqueue-campus": "the queue's quota is what the nodes have",
    "gpu-operator": "a node with another way of sharing brings its configuration",
    "jupyterhub": "a node with another way of sharing brings its profiles, and with more nodes each has more left for people",
}
"""Resources whose inputs may change when a stage adds nodes, and why; everything else must stay as it is."""

R30 = [
    ("ceph-csi-drivers", "rook-ceph"),
    ("rook-ceph-cluster", "ceph-csi-drivers"),
    ("cluster-policy-ready", "gpu-operator"),
    ("ipaddresspool-campus", "metallb"),
    ("l2advertisement-campus", "ipaddresspool-campus"),
    ("clusterissuer-campus", "cert-manager"),
    ("ingress-nginx", "ipaddresspool-campus"),
    ("ingress-nginx", "clusterissuer-campus"),
    ("jupyterhub", "rook-ceph-cluster"),
    ("jupyterhub", "cluster-policy-ready"),
    ("jupyterhub", "ingress-nginx"),
    ("kube-prometheus-stack", "prometheus-operator-crds"),
    ("kube-prometheus-stack", "rook-ceph-cluster"),
    ("kube-prometheus-stack", "ingress-nginx"),
    ("localqueue-campus", "clusterqueue-campus"),
    ("clusterqueue-campus", "kueue"),
    ("kserve-resources", "kserve-crd"),
    ("kserve-resources", "clusterissuer-campus"),
    ("kserve-runtime-configs", "kserve-resources"),
]
"""Later, earlier: the order of R30 with what reference material adds to it."""

MONITORED = [
    release.chart
    for record in LAYERS
    if any(need.layer == "monitoring-types" for need in record.needs)
    for release in record.releases
]
"""Releases whose charts silently leave out their ServiceMonitors while the kind does not exist."""

OPERATORS = {api.group: api.operator for record in LAYERS for api in record.apis}
"""API group -> the release that reconciles its objects."""


def site_of(name: str) -> Site:
    """The site of a stack."""
    return load_site(stack(name)[0])


def named(graph: Graph, name: str) -> Registered:
    """The one resource of this name that is no component and no namespace."""
    found = [one for one in graph.by_urn.values() if one.name == name and one.request.custom]
    assert len(found) == 1, f"{len(found)} resources are called {name}"
    return found[0]


@every
def test_every_resource_hangs_under_a_component(site: str, stage: str) -> None:
    assert program(site, stage).orphans == []


@every
def test_no_resource_reaches_for_a_default_provider(site: str, stage: str) -> None:
    """A default provider would talk to whatever cluster the operator's machine knows."""
    settings = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    forbidden = settings["pulumi:disable-default-providers"]

    assert set(forbidden) == {"kubernetes", "proxmoxve"}
    assert program(site, stage).on_default_provider(*forbidden) == []


@every
def test_no_two_resources_share_a_urn(site: str, stage: str) -> None:
    assert program(site, stage).duplicates == []


@every
def test_every_component_registers_its_outputs(site: str, stage: str) -> None:
    assert program(site, stage).unfinished == []


@every
def test_no_secret_stands_outside_its_envelope(site: str, stage: str) -> None:
    """What stands outside is written to the state, to previews and to logs as it is."""
    assert program(site, stage).leaks(*SENTINELS) == []


def test_the_sentinels_are_in_the_graph_so_that_their_absence_means_something() -> None:
    # Two sites that use all of them together, except the hub's own password: each site has an identity provider.
    graphs = program("lab", "alpha"), program("a100-host", "all")
    text = json.dumps([one.inputs for graph in graphs for one in graph.by_urn.values()])
    used = {PROXMOX_TOKEN, *SENTINELS[SENTINELS.index(ADMIN_KEY) :]} - {derive_password(SEED, "hub-password")}

    assert [sentinel for sentinel in used if sentinel not in text] == []


def test_a_stage_decides_over_machines_and_nothing_else() -> None:
    """It is why stages with the same machines need not be looked at twice."""
    alpha2, beta = program("lab", "alpha2"), program("lab", "beta")

    assert stages("lab") == ["alpha", "alpha2"]
    assert {urn: one.inputs for urn, one in alpha2.by_urn.items()} == {
        urn: one.inputs for urn, one in beta.by_urn.items()
    }
    assert alpha2.exports() | {"stage": "beta"} == beta.exports()


@pytest.mark.parametrize("site", ALL_SITES)
def test_a_preview_shows_every_resource_with_no_cluster_and_no_secret(site: str) -> None:
    """A resource that is declared inside `apply` would be missing; a pull request has no secrets to show it with."""
    first, *_ = stages(site)

    assert list(program(site, first, preview=True, secrets=False).by_urn) == list(program(site, first).by_urn)


GROWTH = [(site, *both) for site in ALL_SITES for both in pairwise(stages(site))]
growing = pytest.mark.parametrize(("site", "less", "more"), GROWTH)
"""Every step from a stage to the next that adds machines."""


@growing
def test_a_later_stage_only_adds(site: str, less: str, more: str) -> None:
    before, after = program(site, less).by_urn, program(site, more).by_urn

    assert before.keys() - after.keys() == set()
    changed = {one.name for urn, one in before.items() if one.inputs != after[urn].inputs}
    assert changed <= GROWS.keys(), "growing must not touch what runs"


@pytest.mark.parametrize("site", ALL_SITES)
def test_a_later_stage_keeps_every_option_that_decides_over_replacement(site: str) -> None:
    first, *_, last = stages(site)
    before, after = program(site, first).by_urn, program(site, last).by_urn

    def options(one: Registered) -> tuple[object, ...]:
        request = one.request
        return request.protect, request.deleteBeforeReplace, list(request.ignoreChanges), list(request.replaceOnChanges)

    assert [urn for urn, one in before.items() if options(one) != options(after[urn])] == []


@every
def test_what_is_started_together_fits_on_its_host_and_shares_no_card(site: str, stage: str) -> None:
    """Preflight counts by shift; so must the graph."""
    campus = load_site(site)
    machines = {node.name: node for node in campus.machines}
    vms = program(site, stage).of_type(VM)
    started = [machines[vm.inputs["name"]] for vm in vms if vm.inputs.get("started", True)]
    for host in campus.hosts_by_name.values():
        running = [node for node in started if node.host == host.name]
        cards = [gpu.pci for node in running for gpu in node.gpus]

        assert sum(node.shape.memory for node in running) <= host.memory - host.reserve
        assert len(cards) == len(set(cards))


def test_growing_changes_what_it_is_said_to_change() -> None:
    """The list of exceptions must not outlive its reasons."""
    seen = {
        one.name
        for site, less, more in GROWTH
        for urn, one in program(site, less).by_urn.items()
        if one.inputs != program(site, more).by_urn[urn].inputs
    }

    assert {"k3s-members", "rook-ceph-cluster", "clusterqueue-campus"} <= seen


def test_production_has_forty_gpu_workers() -> None:
    graph = program(*stack("prod"))
    with_gpu = [one.name for one in graph.of_type(VM) if one.inputs.get("hostpcis")]

    assert with_gpu == [f"gpu-{n:02d}-vm" for n in range(1, 41)]


def test_development_has_three_servers_and_two_gpu_workers() -> None:
    graph = program(*stack("dev"))

    assert [one.name for one in graph.of_type(VM)] == [
        "gpu-1-vm",
        "gpu-2-vm",
        "server-1-vm",
        "server-2-vm",
        "server-3-vm",
    ]


def test_development_has_one_worker_in_mig_mode_and_one_with_whole_cards() -> None:
    graph = program(*stack("dev"))
    patched = [one.inputs["metadata"] for one in graph.of_type("kubernetes:core/v1:NodePatch")]

    assert [(patch["name"], sorted(patch["labels"])) for patch in patched] == [("gpu-1", ["nvidia.com/mig.config"])]
    offered = named(graph, "clusterqueue-campus").inputs["spec"]["resourceGroups"][0]["flavors"][0]["resources"]
    assert {"name": "nvidia.com/gpu", "nominalQuota": "2"} in offered
    assert {"name": "nvidia.com/mig-1g.5gb", "nominalQuota": "7"} in offered


@growing
def test_a_machine_costs_at_most_five_resources(site: str, less: str, more: str) -> None:
    """Forty nodes must stay cheap on a file backend, which writes the whole state at every step."""

    def resources(stage: str) -> list[Registered]:
        # A new kind of card costs one more, for its queue; it belongs to the layer.
        return [one for one in program(site, stage).by_urn.values() if not one.type.endswith(":ResourceFlavor")]

    machines = len(program(site, more).of_type(VM)) - len(program(site, less).of_type(VM))

    assert len(resources(more)) - len(resources(less)) <= 5 * machines


def test_forty_nodes_with_every_layer_are_at_most_four_hundred_resources() -> None:
    assert len(program(*stack("prod")).by_urn) <= 400


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize(("later", "earlier"), R30)
def test_layers_come_in_the_order_that_their_needs_give(name: str, later: str, earlier: str) -> None:
    graph = program(*stack(name))

    assert named(graph, earlier).urn in graph.before(named(graph, later)), f"{later} must wait for {earlier}"


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("release", MONITORED)
def test_what_wants_to_be_watched_waits_for_the_kinds_of_prometheus(name: str, release: str) -> None:
    if is_installed(site_of(name), release):
        graph = program(*stack(name))

        assert named(graph, "prometheus-operator-crds").urn in graph.before(named(graph, release))


@every
def test_a_custom_resource_goes_before_the_operator_that_must_clean_up_after_it(site: str, stage: str) -> None:
    """Deleting runs backwards: without its operator a finalizer is waited for for ever. A ServiceMonitor has none."""
    graph = program(site, stage)
    for one in graph.by_urn.values():
        group = one.type.removeprefix("kubernetes:").partition("/")[0]
        if one.type.startswith("kubernetes:") and group in OPERATORS and not one.type.endswith(":ServiceMonitor"):
            operator = named(graph, OPERATORS[group])

            assert operator.urn in graph.before(one), f"{one.name} must be deleted while {operator.name} still runs"


def test_every_kind_of_custom_resource_has_its_operator() -> None:
    own = {"core", "helm.sh", "kustomize"}
    groups = {
        one.type.removeprefix("kubernetes:").partition("/")[0]
        for site, stage in EVERY
        for one in program(site, stage).by_urn.values()
        if one.type.startswith("kubernetes:")
    }

    assert groups - own <= OPERATORS.keys()
    assert {"metallb.io", "cert-manager.io", "kueue.x-k8s.io", "nvidia.com"} <= groups, "the control"


@pytest.mark.parametrize("name", STACKS)
def test_everything_on_kubernetes_waits_for_every_node(name: str) -> None:
    graph = program(*stack(name))
    members = named(graph, "k3s-members").urn
    on_kubernetes = [one for one in graph.by_urn.values() if one.type.startswith("kubernetes:")]

    assert on_kubernetes
    assert [one.name for one in on_kubernetes if members not in graph.before(one)] == []


def needed_layers(record: LayerRecord) -> set[str]:
    """Names of the layers that a record needs, directly or through another one."""
    direct = {need.layer for need in record.needs}
    return direct | {name for layer in direct for name in needed_layers(record_of(layer))}


@pytest.mark.parametrize("name", STACKS)
def test_a_layer_waits_for_those_that_it_needs_and_comes_up_beside_all_others(name: str) -> None:
    """A chain would add their times."""
    graph = program(*stack(name))
    installed = [(record, named(graph, release.chart)) for record, release in installed_releases(site_of(name))]
    wrong = [
        f"{one.name} and {other.name}"
        for record, one in installed
        for layer, other in installed
        if record is not layer and (other.urn in graph.before(one)) != (layer.name in needed_layers(record))
    ]

    assert len(installed) > 10
    assert wrong == []


@pytest.mark.parametrize("name", STACKS)
def test_servers_join_one_after_the_other_and_agents_side_by_side(name: str) -> None:
    """Etcd takes one learner at a time; an agent needs only the first server."""
    graph = program(*stack(name))
    order = {one.name: graph.before(one) for one in graph.of_type(COMMAND)}
    urns = {one.name: one.urn for one in graph.of_type(COMMAND)}
    servers = sorted(name for name in order if name.startswith("server-"))
    agents = [name for name in order if name.startswith("gpu-")]

    assert all(urns[first] in order[second] for first, second in pairwise(servers))
    assert [agent for agent in agents if urns[servers[0]] not in order[agent]] == []
    assert [(one, other) for one in agents for other in agents if urns[other] in order[one]] == []


@pytest.mark.parametrize("name", STACKS)
def test_a_machine_is_logged_in_to_only_after_its_host_key_is_known(name: str) -> None:
    graph = program(*stack(name))
    for command in graph.of_type(COMMAND):
        connection = command.inputs["connection"]

        assert connection["hostKey"].startswith("answer-to-"), f"{command.name} must pin the key that the agent read"


@pytest.mark.parametrize("name", STACKS)
def test_no_secret_is_an_argument_of_a_command(name: str) -> None:
    """Arguments are readable for everybody on the machine; standard input and the environment are not."""
    graph = program(*stack(name))
    lines = [one.inputs["create"] for one in graph.by_urn.values() if one.type.startswith("command:")]

    assert lines
    assert [line for line in lines if any(sentinel in line for sentinel in SENTINELS)] == []


@pytest.mark.parametrize("name", STACKS)
def test_what_a_command_prints_is_kept_from_the_log(name: str) -> None:
    """A kubeconfig comes back on standard output."""
    for one in program(*stack(name)).of_type(COMMAND):
        assert one.inputs["logging"] == "stderr"
        assert "stdout" in one.request.additionalSecretOutputs


@pytest.mark.parametrize("name", STACKS)
def test_exports_say_how_to_reach_the_cluster(name: str) -> None:
    exports = program(*stack(name)).exports()

    assert {"site", "stage", "api", "ingress", "kubeconfig", "cluster_ca", "fixed"} <= exports.keys()
    assert exports["api"] in exports["kubeconfig"], "the kubeconfig must name the address that moves, not 127.0.0.1"


@pytest.mark.parametrize("name", STACKS)
def test_names_of_resources_change_only_on_purpose(name: str) -> None:
    """Another URN is another resource: the old one would be deleted. A rename needs an alias."""
    urns = [urn.removeprefix("urn:pulumi:test::project::") for urn in program(*stack(name)).by_urn]

    golden.check(f"urns_{name}.json", json.dumps(urns, indent=1) + "\n")


def test_without_its_secrets_an_update_says_which_and_how() -> None:
    """A preview may do without; what is created must not be made from stand-ins."""
    with pytest.raises(pulumi.RunError, match=r"lacks 2 secret(?s:.)*seed: (?s:.)*proxmox-token: ") as error:
        program("forty-workstations", "alpha", secrets=False)

    assert str(error.value).count("./lyceum secrets set") == 2


def test_a_stage_that_does_not_exist_is_reported_with_those_that_do() -> None:
    with pytest.raises(pulumi.RunError, match="`gamma` is not one of alpha, alpha2, beta, beta2, all"):
        program("lab", "gamma")


def difference(changed: Graph) -> tuple[set[str], set[str], set[str]]:
    """Names of what is gone, new, and told otherwise, against the dev stack as it is."""
    before, after = program(*stack("dev")).by_urn, changed.by_urn
    kept = before.keys() & after.keys()
    return (
        {before[urn].name for urn in before.keys() - kept},
        {after[urn].name for urn in after.keys() - kept},
        {before[urn].name for urn in kept if before[urn].inputs != after[urn].inputs},
    )


def test_a_machine_that_leaves_takes_only_its_own_with_it() -> None:
    gone, new, reported = difference(program(*stack("dev"), ("lyceum:out-of-service", '["gpu-2"]')))

    assert {name for name in gone if not name.startswith("gpu-2-")} == set()
    assert {"gpu-2-vm", "gpu-2-host-key", "gpu-2-k3s"} <= gone
    assert new == set()
    assert reported <= GROWS.keys()


def test_the_cas_hash_is_reported_to_the_first_server_alone() -> None:
    """Only a replaced first server needs it."""
    assert difference(program(*stack("dev"), ("lyceum:cluster-ca", "ab" * 32))) == (set(), set(), {"server-1-k3s"})


def test_a_restore_adds_the_snapshot_and_changes_the_first_server_alone(tmp_path: Path) -> None:
    snapshot = tmp_path / "etcd.db"
    snapshot.write_text("etcd")

    graph = program(*stack("dev"), ("lyceum:restore-from", str(snapshot)))

    assert difference(graph) == (set(), {"server-1-snapshot"}, {"server-1-k3s"})
    assert named(graph, "server-1-snapshot").urn in graph.before(named(graph, "server-1-k3s"))


def test_the_program_is_a_table_of_contents() -> None:
    lines = (PROJECT / "__main__.py").read_text().splitlines()

    assert len(lines) <= 80
    assert [line for line in lines if line.lstrip().startswith(("for ", "if ", "while ", "def "))] == []


def test_stacks_hold_the_same_keys() -> None:
    """They differ in values, never in structure."""
    keys = [set(yaml.safe_load((PROJECT / f"Pulumi.{name}.yaml").read_text())["config"]) for name in STACKS]

    assert keys[0] == keys[1] == {"lyceum:site", "lyceum:stage"}
