"""The other kinds of machine: the operators' own, a worker without cards, one for storage. Each comes, is replaced, and goes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.life import canary
from tests.lab.life.conftest import edit_site
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

NODES = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
KINDS = ("cpu-1", "store-1", "ops-1")
MEMBERS = (*NODES, "cpu-1", "store-1")
TAINT = {"key": "node-role.kubernetes.io/storage", "value": "true", "effect": "NoSchedule"}
GROUPS = [
    {"name": "cpu-1", "role": "worker", "host": "pve1", "shape": "cpu", "gpus": [], "address": "10.21.0.61"},
    {"name": "store-1", "role": "storage", "host": "pve2", "shape": "store", "address": "10.21.0.62"},
    {"name": "ops-1", "role": "maintenance", "host": "pve1", "shape": "cpu", "address": "10.21.0.63"},
]
SHAPES = {
    "cpu": {"cores": 2, "memory": "4 GiB", "disk": "20 GiB"},
    "store": {"cores": 2, "memory": "8 GiB", "disk": "20 GiB", "ceph": "500 GiB"},
}


@pytest.fixture(scope="module", autouse=True)
def _larger(campus: Project) -> Iterator[None]:
    """A site file with one machine of each kind more; afterwards it is as it was."""
    file = campus.path / "config" / "sites" / "lab.yaml"
    before = file.read_text()
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    with edit_site(campus) as site:
        site["nodes"] += GROUPS
        site["shapes"].update(SHAPES)
    yield
    file.write_text(before)


def on(campus: Project, machine: str, command: str, code: int = 0) -> str:
    """What a shell command on a machine prints."""
    return campus.lyceum("lab", "ssh", machine, command, code=code)


def run_the_backup(campus: Project) -> dict[str, Any]:
    """Starts the timer's service and waits for its end; returns what it left."""
    on(campus, "ops-1", "sudo systemctl start lyceum-backup.service")
    return status(campus)


def status(campus: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on(campus, "ops-1", "sudo cat /var/lib/lyceum-backup/copies/status.json"))
    return found


def snapshot(campus: Project) -> str:
    """Has a server take a snapshot; returns its name."""
    on(campus, "server-2", "sudo k3s etcd-snapshot save --name kinds")
    return on(campus, "server-2", "sudo ls -t /var/lib/rancher/k3s/server/db/snapshots").split()[0]


def test_one_machine_of_each_kind_comes_in_one_run(campus: Project) -> None:
    text = campus.lyceum("up", "dev", "--yes")

    assert " replaced" not in text, "what exists is not touched"
    canary.assert_consistent(campus, *MEMBERS, outside=("ops-1",))


def test_each_node_has_the_role_and_the_taint_of_its_kind(campus: Project) -> None:
    nodes = {node["metadata"]["name"]: node for node in campus.objects("nodes")}
    roles = {name: {key for key in nodes[name]["metadata"]["labels"] if "node-role" in key} for name in MEMBERS}

    assert roles["cpu-1"] == {"node-role.kubernetes.io/worker"}
    assert roles["store-1"] == {"node-role.kubernetes.io/storage"}
    assert nodes["store-1"]["spec"]["taints"] == [TAINT]
    assert "taints" not in nodes["cpu-1"]["spec"]
    assert nodes["cpu-1"]["metadata"]["labels"]["lyceum.io/gpu-model"] == "none"
    assert nodes["cpu-1"]["metadata"]["labels"].keys() & {"gpu-model", "accelerator"} == set()


def test_the_storage_machine_has_an_osd_and_nobody_elses_pods(campus: Project) -> None:
    def osd_runs() -> bool:
        pods = campus.objects("pods", "--namespace", "rook-ceph", "-l", "app=rook-ceph-osd")
        return any(pod["spec"].get("nodeName") == "store-1" and pod["status"]["phase"] == "Running" for pod in pods)

    canary.wait_until(osd_runs, "an OSD runs on store-1")
    pods = campus.objects("pods", "--all-namespaces", "--field-selector", "spec.nodeName=store-1")
    daemons = [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"]
    others = {pod["metadata"]["namespace"] for pod in pods if pod not in daemons} - {"rook-ceph", "kube-system"}
    assert others == set(), "the taint keeps everybody away but each node's daemons"
    names = [pod["metadata"]["name"] for pod in pods]
    assert any("nodeplugin" in name for name in names), "volumes can be mounted there as anywhere"


def test_the_operators_have_kubectl_and_their_kubeconfig(campus: Project) -> None:
    names = on(campus, "ops-1", "kubectl get nodes -o name").split()

    assert [name for name in names if name.startswith("node/")] == sorted(f"node/{name}" for name in MEMBERS)
    assert on(campus, "ops-1", "stat -c '%a %U' .kube/config").split() == ["600", "lyceum"]
    assert on(campus, "ops-1", "grep -c https://10.21.0.30:6443 .kube/config").strip() == "1"


def test_the_timer_waits_for_its_hour(campus: Project) -> None:
    line = next(line for line in on(campus, "ops-1", "systemctl list-timers").splitlines() if "lyceum-backup" in line)

    assert "lyceum-backup.timer" in line
    assert "lyceum-backup.service" in line
    assert [(one["machine"], one["problem"]) for one in campus.status()["copies"]] == [("ops-1", "")]


def test_its_service_leaves_a_verified_copy_of_the_newest_snapshot(campus: Project) -> None:
    name = snapshot(campus)
    found = run_the_backup(campus)

    assert (found["ok"], found["told"]) == (True, [])
    copy = found["copies"][-1]
    assert (copy["server"], copy["nodes"]) == ("server-2", len(MEMBERS))
    path = f"/var/lib/rancher/k3s/server/db/snapshots/{name}"
    assert on(campus, "server-2", f"sudo sha256sum {path}").split()[0] == copy["sha256"]
    assert (
        on(campus, "ops-1", f"sudo sha256sum /var/lib/lyceum-backup/copies/{copy['file']}").split()[0] == copy["sha256"]
    )
    [shown] = campus.status()["copies"]
    assert shown["files"][-1]["file"] == copy["file"]


def test_a_copy_is_brought_here_and_can_be_restored(campus: Project) -> None:
    copy = status(campus)["copies"][-1]
    name = copy["file"]
    listed = json.loads(campus.lyceum("backup", "list", "dev", "--json"))["snapshots"]
    (one,) = [one for one in listed if one["name"] == copy["snapshot"]]
    assert {"server-2", "ops-1"} <= set(one["places"]), "a copy and its original are one snapshot"
    assert name in campus.lyceum("backup", "bring", "dev").replace("\n", "")

    assert "this stack's token decrypts it" in campus.lyceum("backup", "verify", "dev", name)
    assert "nothing was changed" in campus.lyceum("restore", "dev", "--from", name, "--dry-run")


def as_the_copier(address: str, words: str) -> str:
    """A command on the operators' machine that uses the backup key."""
    options = "-o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/etc/lyceum/backup/known_hosts"
    return f"sudo -u lyceum-backup ssh -F none -i /etc/lyceum/backup/key {options} {address} {words}"


@pytest.mark.parametrize(
    "words", ["id", "'sudo -n id'", "'get ../../../../../etc/shadow'", "'list; id'", "''", "'get /etc/shadow'"]
)
def test_the_backup_key_does_nothing_else_on_a_server(campus: Project, words: str) -> None:
    text = on(campus, "ops-1", as_the_copier("lyceum-backup@10.21.0.31", words), code=2)

    assert "this key may `list` and `get NAME`, nothing else" in text
    assert "uid=" not in text
    assert "root:" not in text


def test_the_backup_key_forwards_nothing_and_logs_in_as_nobody_else(campus: Project) -> None:
    forward = as_the_copier("-W 127.0.0.1:6443 lyceum-backup@10.21.0.31", "")
    assert "prohibited" in on(campus, "ops-1", f"{forward} </dev/null", code=255)
    on(campus, "ops-1", as_the_copier("lyceum@10.21.0.31", "true"), code=255)
    on(campus, "ops-1", as_the_copier("lyceum-backup@10.21.0.41", "list"), code=255)


def test_from_another_machine_the_key_opens_nothing(campus: Project) -> None:
    """`from=`: a stolen key is of use only on the machine that it was stolen from."""
    key, hosts = (on(campus, "ops-1", f"sudo cat /etc/lyceum/backup/{name}") for name in ("key", "known_hosts"))
    options = "-F none -i key -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=hosts"
    files = f"umask 077; cat >key <<'END'\n{key}END\ncat >hosts <<'END'\n{hosts}END\n"
    script = f"{files}ssh {options} lyceum-backup@10.21.0.31 list; code=$?; rm key hosts; exit $code"
    assert "Permission denied" in on(campus, "gpu-1", script, code=255)


def test_a_server_with_another_host_key_is_reported_and_not_asked(campus: Project) -> None:
    campus.lyceum("lab", "faults", "rogue-sshd", "server-3")
    try:
        found = run_the_backup(campus)
    finally:
        campus.lyceum("lab", "faults", "true-sshd", "server-3")

    assert found["ok"] is True, "the other servers have it as well"
    assert [line for line in found["told"] if line.startswith("server-3: ")]


def test_copies_that_fail_make_the_campus_unhealthy_until_they_work(campus: Project) -> None:
    on(campus, "ops-1", "sudo mv /etc/lyceum/backup/key /etc/lyceum/backup/kept")
    on(campus, "ops-1", "sudo systemctl start lyceum-backup.service", code=1)
    report = campus.status()
    assert report["healthy"] is False
    assert "server-1: " in report["copies"][0]["problem"]

    on(campus, "ops-1", "sudo mv /etc/lyceum/backup/kept /etc/lyceum/backup/key")
    assert run_the_backup(campus)["ok"] is True
    canary.wait_until_healthy(campus, "everything is well again")


def test_the_operators_machine_is_replaced_without_a_word_to_the_cluster(campus: Project) -> None:
    before = campus.machines()["ops-1"]
    text = campus.lyceum("node", "replace", "dev", "ops-1")

    assert "cordon" not in text, "there is nothing to drain"
    assert campus.machines()["ops-1"] != before, "the machine must be another one"
    canary.assert_consistent(campus, *MEMBERS, outside=("ops-1",))
    assert run_the_backup(campus)["ok"] is True, "it has its key and the servers' again"


@pytest.mark.strict  # test_life replaces workers that hold Ceph data; here each kind joins, and leaves at the end
def test_each_node_of_a_kind_is_replaced_under_its_name(campus: Project) -> None:
    for name in ("cpu-1", "store-1"):
        before = campus.machines()[name]
        campus.lyceum("node", "replace", "dev", name)
        assert campus.machines()[name] != before, f"{name} must be another machine"
        canary.assert_consistent(campus, *MEMBERS, outside=("ops-1",))


def test_a_replaced_server_is_known_to_the_copier_by_its_new_key(campus: Project) -> None:
    campus.lyceum("node", "replace", "dev", "server-3")
    found = run_the_backup(campus)

    assert (found["ok"], found["told"]) == (True, [])


def test_the_list_shows_every_kind(campus: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no word is folded
    text = campus.lyceum("node", "list", "dev")

    assert all(word in text for word in (*KINDS, "maintenance", "storage"))


def test_all_of_them_go_again_and_the_key_with_the_operators_machine(campus: Project) -> None:
    campus.lyceum("node", "remove", "dev", "ops-1")
    assert on(campus, "server-1", "sudo ls /var/lib/lyceum-backup/.ssh", code=2)
    campus.lyceum("node", "remove", "dev", "cpu-1", "store-1")

    canary.assert_consistent(campus, *NODES)
    put_back(campus)


def put_back(campus: Project) -> None:
    """The names are free again: the machines leave the site's file and the list of those out of service."""
    program = "from ops.engine.stack import Stack; Stack('dev').set('out-of-service', None)"
    subprocess.run([sys.executable, "-c", program], cwd=campus.path, check=True)
