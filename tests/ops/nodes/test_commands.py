"""What `lyceum node` shows and checks."""

from ops.nodes.commands import count_remaining_servers, explain_add, node_row
from tests.ops.objects import node, pod
from tests.support.sites import site

SITE = site()
GPU_1 = next(machine for machine in SITE.machines if machine.name == "gpu-1")


def test_a_row_shows_machine_node_and_work() -> None:
    row = node_row(
        GPU_1, True, True, node("gpu-1"), [pod("train", owner="Job/t", gpus=2), pod("web", owner="ReplicaSet/w")]
    )

    assert row[:5] == ["gpu-1", "worker", "pve1", "10.9.0.41", "yes"]
    assert row[5:] == ["[green]ready[/]", "v1.36.4+k3s1", "1 pod, 2 GPUs"]


def test_a_machine_that_is_missing_from_the_cluster_is_shown_as_absent() -> None:
    assert node_row(GPU_1, True, True, None, [])[5] == "[red]absent[/]"


def test_a_cordoned_node_is_shown_as_such() -> None:
    drained = node("gpu-1")
    drained["spec"]["unschedulable"] = True

    assert node_row(GPU_1, True, True, drained, [])[5] == "[green]ready[/], cordoned"


def test_a_machine_out_of_service_is_to_be_removed() -> None:
    assert node_row(GPU_1, False, True, node("gpu-1"), [])[4] == "to be removed"


def test_an_unknown_machine_is_explained_with_a_free_address() -> None:
    text = explain_add(SITE, "all", "gpu-3")

    assert "config/sites/campus.yaml has no machine `gpu-3`" in text
    assert "address: 10.9.0.43" in text


def test_a_machine_of_a_later_stage_is_explained_with_the_stage() -> None:
    larger = site({"nodes": [*_nodes(), _third()]})

    assert "in service from stage alpha2 on" in explain_add(larger, "alpha", "gpu-3")


def _nodes() -> list[dict[str, object]]:
    return [
        {"name": "server-[1-3]", "role": "server", "host": "pve[1-3]", "shape": "server", "address": "10.9.0.[31-33]"},
        {"name": "gpu-[1-2]", "role": "worker", "host": "pve[1-2]", "shape": "gpu", "address": "10.9.0.[41-42]"},
    ]


def _third() -> dict[str, object]:
    return {"name": "gpu-3", "role": "worker", "host": "pve3", "shape": "gpu", "address": "10.9.0.43"}


def test_remaining_servers_are_counted_only_if_one_is_removed() -> None:
    assert count_remaining_servers(SITE.machines, {"server-3"}) == 2
    assert count_remaining_servers(SITE.machines, {"gpu-1"}) == 0
    assert count_remaining_servers(SITE.machines, set()) == 3
