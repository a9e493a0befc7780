"""What a replacement may take away, and how far an interrupted one came."""

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


def test_a_machine_with_another_host_key_was_made_anew() -> None:
    assert is_recreated([entry("replace")], "gpu-1", NEW)


def test_a_machine_with_the_noted_host_key_is_still_the_old_one() -> None:
    assert not is_recreated([entry("replace")], "gpu-1", OLD)


def test_a_replacement_that_ended_says_nothing_about_the_next_one() -> None:
    assert not is_recreated([entry("replace"), entry("replaced")], "gpu-1", NEW)


def test_another_machines_replacement_says_nothing() -> None:
    assert not is_recreated([entry("replace", "gpu-2")], "gpu-1", NEW)


def test_without_a_word_there_is_nothing_to_go_on_with() -> None:
    assert not is_recreated([], "gpu-1", NEW)


VM, RUN, OBJECT = VM_TYPE, COMMAND_TYPE, "kubernetes:core/v1:Namespace"


def plan(*steps: tuple[str, str, str]) -> dict[str, Any]:
    return {"steps": [{"op": op, "urn": f"urn:pulumi:dev::lyceum::a:b:C${kind}::{name}"} for op, kind, name in steps]}


def test_a_machine_goes_with_its_key_and_its_k3s() -> None:
    steps = [("delete-replaced", VM, "gpu-1-vm"), ("create-replacement", RUN, "gpu-1-host-key")]

    assert find_collateral(plan(*steps, ("update", OBJECT, "campus"), ("same", VM, "gpu-2-vm")), "gpu-1") == set()


def test_commands_that_run_anew_take_nothing_away() -> None:
    """The command that waits for all nodes runs on the first server, and anew when that is replaced."""
    assert find_collateral(plan(("replace", RUN, "k3s-members")), "server-1") == set()


def test_whatever_else_would_go_is_named() -> None:
    """A provider whose kubeconfig is unknown for a moment once meant every object on the cluster."""
    assert find_collateral(
        plan(("replace", "pulumi:providers:kubernetes", "kubernetes"), ("delete", VM, "gpu-2-vm")), "gpu-1"
    ) == {"kubernetes", "gpu-2-vm"}


def test_the_journal_keeps_the_words(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    audit_log.record_operation("dev", "remove", {"nodes": ["gpu-3"], "force": ["data"]}, file)
    audit_log.record_operation("prod", "remove", {"nodes": ["gpu-9"]}, file)
    (kept,) = audit_log.read_entries("dev", file=file)

    assert (kept["operation"], kept["nodes"], kept["force"]) == ("remove", ["gpu-3"], ["data"])
    assert "@" in kept["who"]


def test_a_journal_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    audit_log.record_operation("dev", "remove", {"nodes": ["gpu-3"]}, file)
    with file.open("a") as lines:
        lines.write(json.dumps({"stack": "dev"})[:9])

    assert len(list(audit_log.read_entries("dev", file=file))) == 1


def exported(*names: str, **outputs: str) -> State:
    known = [{"type": VM, "urn": name, "inputs": {"name": name, "vmId": 1, "nodeName": "pve1"}} for name in names]
    return State({"deployment": {"resources": [{"type": STACK_TYPE, "urn": "", "outputs": outputs}, *known]}})


def test_a_new_server_before_those_of_a_running_cluster_is_found() -> None:
    """It is the first of the file that starts a cluster; one that exists must stay the first."""
    nodes = site().machines

    assert misplaced_first_server(nodes, exported("server-2", "server-3", cluster_ca="ab")) == "server-1"
    assert misplaced_first_server(nodes, exported("server-1", cluster_ca="ab")) == ""


def test_in_a_bring_up_that_was_cut_the_first_server_may_come_last() -> None:
    assert misplaced_first_server(site().machines, exported("server-2")) == ""
