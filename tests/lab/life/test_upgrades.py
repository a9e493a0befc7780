"""What is to be kept up to date: packages, K3s, certificates. A canary must outlive it, and every kill on the way.

Fault matrix: U1, U2, C1.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from config.versions import K3S
from ops.upgrade.node_upgrade import upgrade_mark
from ops.upgrade.plan import Version
from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support import api_gap
from tests.support.project import MINUTES, Project, until_it_prints

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

SERVERS = ("server-1", "server-2", "server-3")
NODES = (*SERVERS, "gpu-1", "gpu-2")
FAILED, REFUSED = 1, 3
LIBRARY = {"installed": "9.18.1", "version": "9.18.2", "security": True}
KERNEL = {"version": "6.1.153-1", "reboot": True}


OS_STAGES = (
    ("server-1", "server-1: install packages"),
    ("server-3", "server-3: wait until it is ready"),
    ("gpu-1", "gpu-1: drain"),
    ("gpu-2", "gpu-2: install packages"),
)
"""Nodes, and what runs say in the middle of their turns: dpkg at work, rebooting, being drained."""
FEW_OS_STAGES = (OS_STAGES[1], OS_STAGES[3])
"""A server that reboots, and a worker with dpkg at work."""
K3S_STAGES = (
    "takes a snapshot of etcd before the change",
    "systemctl restart k3s",
    "server-2-k3s updated",
    "server-3-k3s updated",
    "systemctl restart k3s-agent",
)
"""What runs say at the stages of an upgrade of K3s: before, in the middle of and after a server, and among the agents.

Each is of the run after the one before: a node goes on by itself with the step at which its run was killed.
"""
FEW_K3S_STAGES = K3S_STAGES[1:3]
"""In the middle of a server, and between two."""
RENEW_STAGES = ("restart K3s on", "server-1-k3s")
"""What a renewal of certificates says as servers restart, and as the new kubeconfig goes into the engine's state."""


def vmid_of(campus: Project, node: str) -> int:
    vms = json.loads((campus.run / "pve/state.json").read_text())["vms"]
    return next(int(number) for number, vm in vms.items() if vm["config"]["name"] == node)


def fault(campus: Project, do: str, node: str, **arguments: Any) -> None:
    """Does something to a machine of the campus that only its lab can do."""
    program = "import json, sys; from lab import campus; campus.ask(sys.argv[1], **json.loads(sys.argv[2]))"
    command = [sys.executable, "-c", program, do, json.dumps({"vmid": vmid_of(campus, node), **arguments})]
    subprocess.run(command, cwd=campus.path, env=campus.environment, check=True)


def offer(campus: Project, node: str, **packages: dict[str, Any]) -> None:
    fault(campus, "offer_packages", node, packages={name.replace("_", "-"): one for name, one in packages.items()})


def in_service(campus: Project) -> None:
    """Every node is there, takes work, and is in nobody's hands."""
    canary.assert_consistent(campus, *NODES)
    for node in campus.objects("nodes"):
        assert not node["spec"].get("unschedulable"), f"{node['metadata']['name']} must take work again"
        assert not upgrade_mark(node), f"{node['metadata']['name']} must not look as if its upgrade went on"


def lacks_nothing(campus: Project) -> None:
    text = campus.lyceum("upgrade", "plan", "dev")

    assert "5 node(s) need no package upgrade" in text, text


def test_the_plan_tells_what_each_node_lacks(campus: Project) -> None:
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    lacks_nothing(campus)
    offer(campus, "server-2", bind9_libs=LIBRARY)
    offer(campus, "gpu-1", bind9_libs=LIBRARY, linux_image_amd64=KERNEL)
    campus.lyceum("lab", "ssh", "gpu-2", "sudo", "apt-mark", "hold", "containerd")

    text = campus.lyceum("upgrade", "plan", "dev")

    table = text[text.index("packages of the operating system") :]
    assert table.index("server-2 (server)") < table.index("gpu-1"), "servers go first"
    assert table.count("bind9-libs") == 2
    assert "linux-image-amd64" in table
    assert "│ yes" in table, "a kernel is certain to need a reboot"
    assert "3 node(s) need no package upgrade" in text
    assert "gpu-2 holds back containerd" in text
    assert "upgrade themselves" not in text, "the nodes' own nightly upgrades are off"


def test_servers_go_first_and_a_kernel_is_booted(campus: Project) -> None:
    fault(campus, "hold_dpkg", "gpu-1", seconds=3600)

    process = campus.start("upgrade", "apply", "dev", "--os")
    text, waits = until_it_prints(process, "waiting for dpkg's lock, held by process")
    assert waits, text
    fault(campus, "systemctl", "gpu-1", argv=["stop", "lab-unattended"])
    text += process.communicate(timeout=15 * MINUTES)[0]

    assert process.returncode == 0, text
    assert text.index("server-2: install packages") < text.index("gpu-1: drain")
    assert "(unattended-upgr)" in text
    assert "gpu-1 reboots for linux-image-amd64" in text
    assert "server-2 reboots" not in text
    in_service(campus)
    lacks_nothing(campus)


def test_a_worker_with_work_is_left_and_says_whose(campus: Project) -> None:
    offer(campus, "gpu-1", libc6=LIBRARY)
    offer(campus, "gpu-2", libc6=LIBRARY)
    pod = {**canary._POD, "nodeName": "gpu-2", "restartPolicy": "Never"}
    notebook = {"name": "jupyter-ada", "namespace": "canary", "annotations": {"hub.jupyter.org/username": "ada"}}
    canary.apply(campus, {"apiVersion": "v1", "kind": "Pod", "metadata": notebook, "spec": pod})

    text = campus.lyceum("upgrade", "apply", "dev", "--os", code=REFUSED)

    assert "gpu-2 was left as it was, with its old packages: work runs on it: canary/jupyter-ada (of ada)" in text
    assert "gpu-1: wait until it is ready" in text, "the idle one is upgraded"
    in_service(campus)
    campus.kubectl("-n", "canary", "delete", "pod", "jupyter-ada")


def test_a_package_that_fails_is_reported_and_the_node_kept_from_work_until_it_is_mended(campus: Project) -> None:
    offer(campus, "gpu-2", bind9_libs={**LIBRARY, "fails": "bind9: cannot write /etc/bind"})

    text = campus.lyceum("upgrade", "apply", "dev", "--os", code=FAILED)

    assert "bind9: cannot write /etc/bind" in text
    assert "gpu-2 stays cordoned" in text
    (node,) = [node for node in campus.objects("nodes") if node["metadata"]["name"] == "gpu-2"]
    assert node["spec"].get("unschedulable"), "nobody's job lands on a half-installed machine"
    assert "gpu-2: bind9-libs" in campus.lyceum("upgrade", "status", "dev")
    offer(campus, "gpu-2", bind9_libs=LIBRARY)
    campus.lyceum("upgrade", "apply", "dev", "--os")
    in_service(campus)
    lacks_nothing(campus)


def test_an_upgrade_of_packages_that_is_killed_anywhere_goes_on_with_the_same_command(
    campus: Project, *, all_stages: bool
) -> None:
    stages = OS_STAGES if all_stages else FEW_OS_STAGES
    apply = ("upgrade", "apply", "dev", "--os", "--at-once", "1")  # so that gpu-1 is not overtaken
    for node, _ in stages:
        offer(campus, node, linux_image_next={**KERNEL, "seconds": 5})
    for node, moment in stages:
        packages = campus.run / "hosts" / str(vmid_of(campus, node)) / "upper/var/lib/dpkg/lab.json"

        def begun(packages: Path = packages, moment: str = moment) -> bool:
            """Whether dpkg is at the kernel, where the stage is its installation."""
            return "install" not in moment or (packages.exists() and "linux-image-next" in packages.read_text())

        campus.kill_when(moment, *apply, once=begun)
        # A server on its way down takes the API along for a moment.
        canary.wait_until(
            lambda node=node: upgrade_mark(campus.object("node", node)), f"{node} is marked, killed at `{moment}`"
        )

    campus.lyceum(*apply)

    in_service(campus)
    lacks_nothing(campus)


def wanted(campus: Project) -> str:
    """The K3s that the site's file names."""
    site: Any = YAML(typ="safe").load(campus.path / "config/sites/lab.yaml")
    return str((site.get("k3s") or {}).get("version", K3S))


def one_patch_on(campus: Project) -> str:
    """Writes the next patch release into the site's file."""
    now = Version.parse(wanted(campus))
    new = str(replace(now, patch=now.patch + 1))
    change_site(campus, {"k3s": {"version": new}})
    return new


def versions(campus: Project) -> dict[str, Version]:
    return {
        node["metadata"]["name"]: Version.parse(node["status"]["nodeInfo"]["kubeletVersion"])
        for node in campus.objects("nodes")
    }


def versions_after_a_kill(campus: Project, stage: str) -> dict[str, Version]:
    """Asked until the API answers: what the killed run had begun on a server goes on there, a restart included."""
    found: dict[str, Version] = {}

    def answered() -> bool:
        found.update(versions(campus))
        return set(found) == set(NODES)

    canary.wait_until(answered, f"the API tells of every node, killed at `{stage}`")
    return found


def skew_holds(found: dict[str, Version]) -> bool:
    """No agent is newer than any server."""
    return all(found[agent] <= found[server] for server in SERVERS for agent in NODES if agent not in SERVERS)


def test_an_upgrade_of_k3s_that_is_killed_anywhere_goes_on_from_what_the_nodes_run(
    campus: Project, *, all_stages: bool
) -> None:
    new = one_patch_on(campus)
    done: set[str] = set()
    for stage in K3S_STAGES if all_stages else FEW_K3S_STAGES:
        campus.kill_when(stage, "upgrade", "apply", "dev")
        found = versions_after_a_kill(campus, stage)
        assert skew_holds(found), f"agents are never newer than servers, killed at `{stage}`: {found}"
        upgraded = {name for name, version in found.items() if str(version) == new}
        assert done <= upgraded, "what is done is never done again, nor undone"
        done = upgraded

    text = campus.lyceum("upgrade", "apply", "dev")

    assert "server-1-k3s" not in text, "what runs the release is left alone"
    assert {str(version) for version in versions(campus).values()} == {new}
    in_service(campus)


@pytest.mark.strict  # test_control_plane watches the API while servers restart; the test before upgrades K3s
def test_the_api_stays_within_reach_during_an_upgrade(
    campus: Project, record_property: Callable[[str, object], None]
) -> None:
    new = one_patch_on(campus)
    with api_gap.watched(campus) as found:
        campus.lyceum("upgrade", "apply", "dev")

    record_property("API gap, seconds", found["gap"])
    print(f"the API answered {found['answers']:.0f} times; its longest silence was {found['gap']:.1f} s")  # noqa: T201
    assert found["answers"] > 20, "positive control: it was asked, and answered"
    assert found["gap"] < api_gap.PAUSE
    assert {str(version) for version in versions(campus).values()} == {new}
    in_service(campus)


def test_afterwards_there_is_nothing_left_to_do(campus: Project) -> None:
    text = campus.lyceum("up", "dev", "--yes")

    assert " replaced" not in text
    assert " deleted" not in text
    in_service(campus)


def test_certificates_that_end_soon_are_reported_and_renewed_one_server_at_a_time(campus: Project) -> None:
    for name in NODES:
        campus.lyceum("lab", "faults", "age-certificates", name, "--days", "246")
    # The first server's script shows the aged certificate of the administrator to the stack's state.
    change_site(campus, {"k3s": {"kube-vip": "v1.2.4"}})
    campus.lyceum("up", "dev", "--yes")
    text = campus.lyceum("certificates", "dev", code=FAILED)
    assert "6 certificate(s) expire within 120 days: ./lyceum certificates dev --renew" in text
    with api_gap.watched(campus) as api:
        campus.lyceum("certificates", "dev", "--renew")

    campus.lyceum("certificates", "dev")
    in_service(campus)
    assert api["gap"] < api_gap.PAUSE


def test_certificates_that_have_ended_are_reported_and_brought_back(campus: Project, *, all_stages: bool) -> None:
    """A year in which nobody looked: no server trusts another, and nobody is let in."""
    for name in NODES:
        campus.lyceum("lab", "faults", "age-certificates", name, "--days", "366")
    canary.wait_until(lambda: "does not answer" in campus.lyceum("status", "dev", code=FAILED), "the API is of no use")
    text = campus.lyceum("certificates", "dev", code=FAILED)
    assert "; expired: " in text
    assert "./lyceum certificates dev --renew" in text

    renew = ("certificates", "dev", "--renew")
    campus.killed_at_each(RENEW_STAGES if all_stages else RENEW_STAGES[:1], *renew)
    campus.lyceum(*renew)

    campus.lyceum("certificates", "dev")
    canary.wait_until_healthy(campus, "everything is well again")
    in_service(campus)
