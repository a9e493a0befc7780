"""What is read out of the engine's state, and how it is changed: the rest of it goes back to the engine as it came."""

import json
from typing import Any

import pytest

from config.resource_names import (
    CLUSTER_PROVIDER_TYPE,
    COMMAND_TYPE,
    MACHINE_PARTS,
    RELEASE_TYPE,
    STACK_TYPE,
    VM_TYPE,
    Part,
    resource_name,
    resource_owner,
)
from ops.engine.pulumi_state import State, find_removals
from tests.support.sites import site

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def resource(name: str, kind: str = "x", *dependencies: str, **record: Any) -> dict[str, Any]:
    needed = [f"urn:x::{other}" for other in dependencies]
    more = {"dependencies": needed, "propertyDependencies": {"triggers": needed}} if needed else {}
    return {"urn": f"urn:x::{name}", "type": kind, **more, **record}


def vm(name: str, vm_id: int = 141, **record: Any) -> dict[str, Any]:
    return resource(
        f"{name}-vm", VM_TYPE, inputs={"name": name, "vmId": vm_id, "nodeName": "pve1", "tags": ["worker"]}, **record
    )


def state(*resources: dict[str, Any], **deployment: Any) -> State:
    return State({"version": 3, "deployment": {"resources": list(resources), **deployment}})


def test_a_state_goes_back_as_it_came() -> None:
    text = json.dumps({"version": 3, "deployment": {"manifest": {"magic": "1"}, "resources": [resource("a")]}})

    assert State.parse(text).dump() == text
    assert State.parse('{"version": 3, "deployment": {}}').resources == ()


def test_a_change_keeps_what_only_the_engine_reads_and_leaves_the_first_state_alone() -> None:
    before = state(resource("a", id="7", protect=True), manifest={"magic": "1"})
    after = before.unprotected()

    assert after.document["deployment"] == {
        "resources": [resource("a", id="7", protect=False)],
        "manifest": {"magic": "1"},
    }
    assert before.resources[0].protected


def test_protection_is_taken_off_only_where_it_is_asked_for() -> None:
    after = state(vm("gpu-1", protect=True), vm("gpu-2", protect=True)).unprotected({"urn:x::gpu-2-vm"})

    assert [one.protected for one in after.resources] == [True, False]


def test_vms_are_known_by_name_and_one_that_was_replaced_does_not_count() -> None:
    known = state(vm("gpu-1", 141), vm("gpu-2", 142, delete=True), resource("gpu-3-k3s", COMMAND_TYPE))

    assert {name: (one.vm_id, one.host, one.in_cluster) for name, one in known.vms.items()} == {
        "gpu-1": (141, "pve1", True)
    }
    assert known.vm_urns == {"gpu-1": "urn:x::gpu-1-vm", "gpu-2": "urn:x::gpu-2-vm"}, "the engine would delete both"


def test_the_commands_that_install_k3s_are_distinguished_from_those_of_the_same_name() -> None:
    known = state(
        resource("gpu-1-k3s", COMMAND_TYPE), resource("k3s-members", COMMAND_TYPE), resource("gpu-2-k3s", "other")
    )

    assert known.k3s_commands == {"gpu-1": "urn:x::gpu-1-k3s"}


def test_host_keys_are_read_from_the_commands_that_asked_for_them() -> None:
    known = state(
        resource("gpu-1-host-key", outputs={"stdout": "ssh-ed25519 KEY"}),
        resource("gpu-2-host-key", outputs={"stdout": "OLD"}, delete=True),
        resource("gpu-3-host-key"),
        resource("gpu-1-k3s", outputs={"stdout": "other"}),
    )

    assert known.host_keys == {"gpu-1": "ssh-ed25519 KEY"}


def test_releases_and_providers_that_are_condemned_do_not_count() -> None:
    known = state(
        resource("metallb", RELEASE_TYPE),
        resource("kueue", RELEASE_TYPE, delete=True),
        resource("kubernetes", CLUSTER_PROVIDER_TYPE),
        resource("old", CLUSTER_PROVIDER_TYPE, delete=True),
    )

    assert [one.name for one in known.releases] == ["metallb"]
    assert [one.name for one in known.cluster_providers] == ["kubernetes"]


@pytest.mark.parametrize(
    "found",
    [
        resource("dev", STACK_TYPE, outputs={"kubeconfig": {**SECRET, "plaintext": '"clusters: []"'}}),
        resource("dev", STACK_TYPE, outputs={"kubeconfig": "clusters: []"}),
        resource("kubernetes", CLUSTER_PROVIDER_TYPE, inputs={"kubeconfig": {**SECRET, "plaintext": '"clusters: []"'}}),
    ],
    ids=["output", "plain", "provider"],
)
def test_the_kubeconfig_is_found_also_where_the_first_run_never_ended(found: dict[str, Any]) -> None:
    assert state(resource("dev", STACK_TYPE), found).kubeconfig == "clusters: []"
    assert state(resource("dev", STACK_TYPE)).kubeconfig == ""


def test_of_the_stacks_outputs_only_plain_texts_are_read() -> None:
    known = state(resource("dev", STACK_TYPE, outputs={"cluster_ca": "ab", "kubeconfig": SECRET, "fixed": {}}))

    assert known.stack_outputs == {"cluster_ca": "ab"}
    assert state().stack_outputs == {}


def test_a_machine_that_is_gone_takes_its_parts_along_and_what_needed_it_stays() -> None:
    after = state(
        resource("pve1-image"),
        resource("pve2-image"),
        resource("gpu-1-vm", "x", "pve1-image"),
        resource("gpu-1-host-key", "x", "gpu-1-vm"),
        resource("gpu-1-k3s", "x", "gpu-1-host-key"),
        resource("gpu-10-vm", "x", "pve2-image"),
        resource("k3s-members", "x", "gpu-1-k3s", "gpu-10-vm"),
    ).without_machines({"gpu-1"}, {"pve1"})

    assert [one.name for one in after.resources] == ["pve2-image", "gpu-10-vm", "k3s-members"]
    assert after.resources[-1].dependencies == ("urn:x::gpu-10-vm",)
    assert after.resources[-1].record["propertyDependencies"] == {"triggers": ["urn:x::gpu-10-vm"]}


def test_a_destroy_forgets_what_lives_in_the_cluster_and_keeps_the_provider() -> None:
    """A check that stayed behind depended on a release that was gone, and the engine refused the state."""
    after = state(
        vm("gpu-1"),
        resource("kubernetes", CLUSTER_PROVIDER_TYPE),
        resource("metallb", RELEASE_TYPE),
        resource("metallb-webhook", COMMAND_TYPE, "metallb"),
        resource("k3s-members", COMMAND_TYPE),
    )

    kept = ["gpu-1-vm", "kubernetes", "k3s-members"]
    assert [one.name for one in after.without_cluster_objects().resources] == kept


def test_pending_operations_are_read_and_taken_off() -> None:
    known = state(pending_operations=[{"type": "creating", "resource": vm("gpu-1")}])
    (pending,) = known.pending_operations

    assert (pending.kind, pending.resource.name) == ("creating", "gpu-1-vm")
    assert known.without_pending_operations().pending_operations == ()


def test_a_removal_says_what_is_lost_with_the_machine() -> None:
    campus = site()
    names = [node.name for node in campus.machines]
    found = find_removals(state(*map(vm, [*names, "old-1"])), campus, campus.machines[1:])

    assert {one.name: one.holds for one in found} == {
        names[0]: "an etcd vote",
        "old-1": "unknown: it is no longer in the site's file",
    }


@pytest.mark.parametrize("part", Part)
def test_a_resources_name_tells_its_owner(part: Part) -> None:
    assert resource_owner(resource_name("gpu-1", part), part) == "gpu-1"


def test_a_name_belongs_to_one_part_of_a_machine() -> None:
    for part in MACHINE_PARTS:
        others = [other for other in MACHINE_PARTS if other is not part]
        assert all(resource_owner(resource_name("gpu-1", part), other) is None for other in others)
