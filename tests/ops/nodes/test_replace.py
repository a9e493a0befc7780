"""What a replacement may delete, and how the progress of an interrupted one is read."""

import json
from pathlib import Path
from typing import Any

from config.resource_names import COMMAND_TYPE, STACK_TYPE, VM_TYPE
from ops import audit_log
from ops.engine.pulumi_state import State
from ops.nodes.replace import find_collateral, is_recreated, misplaced_first_server
from tests.support.sites import site

OLD, NEW = "ssh-ed25519 OLD", "ssh-ed25519 NEW"


def entry(operation: str, name: str = "gpu-1", key: str = OLD) -> dict[str, Any]:
    return {"operation": operation, "nodes": [name], "host_key": key}


def test_a_machine_with_another_host_key_is_recreated() -> None:
    assert is_recreated([entry("replace")], "gpu-1", NEW)


def test_a_machine_with_the_recorded_host_key_is_still_the_old_one() -> None:
    assert not is_recreated([entry("replace")], "gpu-1", OLD)


def test_a_finished_replacement_does_not_count_for_the_next() -> None:
    assert not is_recreated([entry("replace"), entry("replaced")], "gpu-1", NEW)


def test_the_replacement_of_another_machine_does_not_count() -> None:
    assert not is_recreated([entry("replace", "gpu-2")], "gpu-1", NEW)


def test_without_an_entry_there_is_nothing_to_continue() -> None:
    assert not is_recreated([], "gpu-1", NEW)


VM, RUN, OBJECT = VM_TYPE, COMMAND_TYPE, "kubernetes:core/v1:Namespace"


def plan(*steps: tuple[str, str, str]) -> dict[str, Any]:
    return {"steps": [{"op": op, "urn": f"urn:pulumi:dev::lyceum::a:b:C${kind}::{name}"} for op, kind, name in steps]}


def test_a_machine_is_replaced_with_its_host_key_and_k3s() -> None:
    steps = [("delete-replaced", VM, "gpu-1-vm"), ("create-replacement", RUN, "gpu-1-host-key")]

    assert find_collateral(plan(*steps, ("update", OBJECT, "campus"), ("same", VM, "gpu-2-vm")), "gpu-1") == set()


def test_commands_that_run_again_delete_nothing() -> None:
    """The command that waits for all nodes runs on the first server, and again when that is replaced."""
    assert find_collateral(plan(("replace", RUN, "k3s-members")), "server-1") == set()


def test_everything_else_that_would_be_deleted_is_listed() -> None:
    """A provider whose kubeconfig was unknown for a moment once meant every object in the cluster."""
    assert find_collateral(
        plan(("replace", "pulumi:providers:kubernetes", "kubernetes"), ("delete", VM, "gpu-2-vm")), "gpu-1"
    ) == {"kubernetes", "gpu-2-vm"}


def test_the_audit_log_keeps_the_overrides(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    audit_log.record_operation("dev", "remove", {"nodes": ["gpu-3"], "force": ["data"]}, file)
    audit_log.record_operation("prod", "remove", {"nodes": ["gpu-9"]}, file)
    (kept,) = audit_log.read_entries("dev", file=file)

    assert (kept["operation"], kept["nodes"], kept["force"]) == ("remove", ["gpu-3"], ["data"])
    assert "@" in kept["who"]


def test_an_incomplete_line_of_the_audit_log_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    audit_log.record_operation("dev", "remove", {"nodes": ["gpu-3"]}, file)
    with file.open("a") as lines:
        lines.write(json.dumps({"stack": "dev"})[:9])

    assert len(list(audit_log.read_entries("dev", file=file))) == 1


def exported(*names: str, **outputs: str) -> State:
    known = [{"type": VM, "urn": name, "inputs": {"name": name, "vmId": 1, "nodeName": "pve1"}} for name in names]
    return State({"deployment": {"resources": [{"type": STACK_TYPE, "urn": "", "outputs": outputs}, *known]}})


def test_a_new_server_listed_before_those_of_a_running_cluster_is_found() -> None:
    """The first server in the file starts a cluster, so an existing one must stay first."""
    nodes = site().machines

    assert misplaced_first_server(nodes, exported("server-2", "server-3", cluster_ca="ab")) == "server-1"
    assert misplaced_first_server(nodes, exported("server-1", cluster_ca="ab")) == ""


def test_in_an_interrupted_first_up_the_first_server_may_be_created_last() -> None:
    assert misplaced_first_server(site().machines, exported("server-2")) == ""
