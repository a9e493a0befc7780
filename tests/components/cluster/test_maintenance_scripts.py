"""The script for the operators' machine, really run by bash."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components.cluster.maintenance import known_hosts, maintenance_script
from tests.support.machine import K3S, FakeMachine
from tests.support.sites import site

SITE = site()
SERVERS = SITE.machines[:3]
KUBECONFIG, KEY = "client-key: the-administrators\n", "-----BEGIN EC PRIVATE KEY-----\n"
CONFIG = "/home/lyceum/.kube/config"
KEY_FILE = "/etc/lyceum/backup/key"
TIMER = "/etc/systemd/system/lyceum-backup.timer"


def script(settings: str = "{}", ca: str = "") -> str:
    hosts = known_hosts(SERVERS, [f"ssh-ed25519 KEY-OF-{server.name}" for server in SERVERS])
    return maintenance_script(
        SITE, "lyceum", kubeconfig=KUBECONFIG, key=KEY, settings=settings, known_hosts=hosts, ca=ca
    )


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_the_operators_have_a_kubectl_that_reaches_the_cluster(machine: FakeMachine) -> None:
    done = machine.run(script())

    assert done.code == 0, done.stderr
    assert done.stdout == "", "nothing that it prints could be secret"
    assert machine.path(CONFIG).read_text() == KUBECONFIG
    assert machine.files()[CONFIG][1] == 0o600
    assert f"chown lyceum: {CONFIG}" in machine.log
    assert machine.calls_of("k3s kubectl") == [f"k3s kubectl --kubeconfig {CONFIG} get --raw /readyz"]


def test_kubectl_finds_the_operators_own_kubeconfig(machine: FakeMachine) -> None:
    machine.run(script())
    machine.clear_log()
    kubectl = machine.path("/usr/local/bin/kubectl")
    machine.write("/usr/local/bin/k3s", K3S + 'echo "$KUBECONFIG"\n')
    done = machine.run(f"unset KUBECONFIG; HOME=/home/lyceum {kubectl} get nodes\nKUBECONFIG=other {kubectl} get pods")

    assert [line.split()[-1] for line in done.stdout.splitlines()][-1] == "other"
    assert CONFIG in done.stdout.replace(str(machine.root), "")
    assert machine.calls_of("k3s kubectl get") == ["k3s kubectl get nodes", "k3s kubectl get pods"]


def test_a_kubeconfig_that_leads_nowhere_is_reported(machine: FakeMachine) -> None:
    machine.serve_k3s(K3S.replace("case $* in", "case $* in\n*readyz*) echo Unauthorized >&2; exit 1 ;;"))
    done = machine.run(script().replace("wait_until 120", "wait_until 1"))

    assert done.code == 1
    assert "the API at https://10.9.0.30:6443 does not take the operators' kubeconfig: Unauthorized" in done.stderr


def test_the_backup_key_is_the_copiers_alone(machine: FakeMachine) -> None:
    machine.run(script())

    assert machine.path(KEY_FILE).read_text() == KEY
    assert machine.files()[KEY_FILE][1] == 0o400
    assert f"chown lyceum-backup: {KEY_FILE}" in machine.log
    assert [line for line in machine.log if "PRIVATE" in line or "administrators" in line] == []


def test_each_servers_host_key_is_pinned(machine: FakeMachine) -> None:
    machine.run(script())

    assert machine.path("/etc/lyceum/backup/known_hosts").read_text().splitlines() == [
        f"10.9.0.3{number} ssh-ed25519 KEY-OF-server-{number}" for number in (1, 2, 3)
    ]


def test_what_the_copier_reads_it_may_read(machine: FakeMachine) -> None:
    """The service runs as an account of its own; a directory of root's alone would shut it out."""
    machine.run(script())
    for path in ("/etc/lyceum", "/etc/lyceum/backup", "/usr/local/lib/lyceum"):
        assert stat.S_IMODE(machine.path(path).stat().st_mode) == 0o755, path
    assert machine.files()["/etc/lyceum/backup/settings.json"][1] == 0o644


def test_the_timer_runs_and_starts_with_the_machine(machine: FakeMachine) -> None:
    machine.run(script())

    assert machine.calls_of("systemctl") == [
        "systemctl daemon-reload",
        "systemctl -q enable lyceum-backup.timer",
        "systemctl restart lyceum-backup.timer",
    ]


def test_a_second_run_writes_and_restarts_nothing(machine: FakeMachine) -> None:
    machine.run(script())
    machine.clear_log()
    before = machine.files()

    assert machine.run(script()).code == 0
    assert machine.files() == before
    assert machine.calls_of("systemctl") == ["systemctl -q is-active lyceum-backup.timer"]
    assert machine.calls_of("curl") == []
    assert machine.calls_of("useradd") == []


def test_another_server_changes_the_settings_and_no_unit(machine: FakeMachine) -> None:
    machine.run(script())
    machine.clear_log()
    settings = json.dumps({"servers": {"server-4": "10.9.0.34"}})
    machine.run(script(settings))

    assert machine.path("/etc/lyceum/backup/settings.json").read_text() == f"{settings}\n"
    assert machine.calls_of("systemctl restart") == []


def test_a_timer_that_somebody_stopped_runs_again(machine: FakeMachine) -> None:
    machine.run(script())
    (machine.state / "active-lyceum-backup.timer").unlink()
    machine.clear_log()
    machine.run(script())

    assert machine.calls_of("systemctl start") == ["systemctl start lyceum-backup.timer"]


def test_a_changed_timer_is_read_again_even_after_a_cut(machine: FakeMachine) -> None:
    machine.run(script())
    machine.write(TIMER, "[Timer]\nOnCalendar=daily\n")
    whole = script()
    assert machine.run(whole.replace("timer lyceum-backup\n", "kill -9 $$\n")).code != 0
    machine.clear_log()
    machine.run(whole)

    assert machine.calls_of("systemctl restart") == ["systemctl restart lyceum-backup.timer"]
    assert "OnCalendar=hourly" in machine.path(TIMER).read_text()


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "script.sh"
    path.write_text(script(ca="PEM"))
    checker = Path(sys.executable).parent / "shellcheck"
    command = [str(checker), "--shell=bash", "--exclude=SC2317,SC2329", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0, done.stderr
