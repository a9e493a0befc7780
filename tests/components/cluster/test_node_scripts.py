"""The scripts for nodes, really run by bash: what they do on a fresh machine, on a finished one, and when they are cut."""

import hashlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from components.cluster import bootstrap, snapshot_access
from components.cluster.bootstrap import NODE_SH
from config.hosts import Node
from tests.support.machine import K3S, FakeMachine
from tests.support.sites import site

SITE = site()
SERVER, WORKER = SITE.machines[0], SITE.machines[3]
TOKEN, AGENT_TOKEN = "server-token-of-the-test", "agent-token-of-the-test"
CONFIG = "/etc/rancher/k3s/config.yaml"
JOIN = "/etc/rancher/k3s/config.yaml.d/10-join.yaml"
BINARY = "/usr/local/bin/k3s"
PENDING = "/run/lyceum-restart-k3s"
URL = "https://10.9.0.30:6443"


def founding(node: Node = SERVER, *, ca: str = "", known_ca: str = "", snapshot: str = "") -> str:
    return bootstrap.server_script(
        node,
        SITE,
        founding=True,
        token=TOKEN,
        agent_token=AGENT_TOKEN,
        ca=ca,
        known_ca=known_ca,
        snapshot=snapshot,
    )


LINE = snapshot_access.authorized_keys_line([IPv4Address("10.9.0.99")], "ecdsa-sha2-nistp256 AAAA")


def guarded(line: str) -> str:
    return bootstrap.server_script(
        SERVER, SITE, founding=True, token=TOKEN, agent_token=AGENT_TOKEN, ca="", backup_access=line
    )


def joining() -> str:
    return bootstrap.agent_script(WORKER, SITE, token=f"K10ca::node:{AGENT_TOKEN}", ca="")


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def finished(machine: FakeMachine, script: str) -> FakeMachine:
    """The machine after a good first run, with an empty log."""
    done = machine.run(script)
    assert done.code == 0, done.stderr
    machine.write("/var/lib/rancher/k3s/server/db/etcd/name", "server-1")
    machine.clear_log()
    return machine


def functions(calls: str) -> str:
    """The functions of node.sh and calls of them, as a whole script."""
    return f"{{\n{NODE_SH}{calls}\nexit\n}} </dev/null\n"


def test_the_first_server_starts_k3s_and_prints_the_way_in(machine: FakeMachine) -> None:
    done = machine.run(founding())

    assert done.code == 0, done.stderr
    digest, _, kubeconfig = done.stdout.partition("\n")
    assert digest == hashlib.sha256(b"the cluster's CA\n").hexdigest()
    assert kubeconfig == "server: https://127.0.0.1:6443\n"
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]
    assert machine.path(JOIN).read_text() == "cluster-init: true\n"


def test_a_second_run_writes_and_restarts_nothing(machine: FakeMachine) -> None:
    finished(machine, founding())
    before = machine.files()

    assert machine.run(founding()).code == 0
    assert machine.files() == before
    assert [line for line in machine.calls_of("systemctl") if "is-active" not in line] == []
    assert machine.calls_of("sysctl") == []


def test_a_second_run_downloads_nothing(machine: FakeMachine) -> None:
    finished(machine, founding())
    machine.run(founding())

    assert [line for line in machine.calls_of("curl") if "cacerts" not in line] == []


def test_a_second_run_prints_the_same(machine: FakeMachine) -> None:
    """What it prints is the resource's value: a change would ripple through the graph."""
    first = machine.run(founding())
    machine.write("/var/lib/rancher/k3s/server/db/etcd/name", "server-1")

    assert machine.run(founding()).stdout == first.stdout


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        (CONFIG, 0o600),
        (JOIN, 0o600),
        ("/etc/rancher/k3s/token", 0o600),
        ("/etc/rancher/k3s/agent-token", 0o600),
        ("/etc/rancher/k3s/admission.yaml", 0o600),
        ("/etc/rancher/k3s/audit.yaml", 0o600),
        ("/var/lib/rancher/k3s/server/manifests/kube-vip.yaml", 0o600),
        ("/etc/systemd/system/k3s.service", 0o644),
        ("/etc/sysctl.d/90-lyceum.conf", 0o644),
        ("/etc/apt/apt.conf.d/90-lyceum", 0o644),
        (BINARY, 0o755),
    ],
)
def test_each_file_is_readable_to_whom_it_must_be(machine: FakeMachine, path: str, mode: int) -> None:
    """CIS 1.1: what holds a secret or a setting is root's alone."""
    finished(machine, founding())

    assert machine.files()[path][1] == mode


def test_a_node_does_not_upgrade_itself(machine: FakeMachine) -> None:
    """A node that upgraded itself during a class is how peers lost an afternoon; `lyceum upgrade` does it instead."""
    finished(machine, founding())

    assert 'APT::Periodic::Unattended-Upgrade "0";' in machine.path("/etc/apt/apt.conf.d/90-lyceum").read_text()


def test_tokens_are_in_their_files_and_in_no_argument(machine: FakeMachine) -> None:
    machine.run(founding())

    assert machine.path("/etc/rancher/k3s/token").read_text() == f"{TOKEN}\n"
    assert machine.path("/etc/rancher/k3s/agent-token").read_text() == f"{AGENT_TOKEN}\n"
    assert [line for line in machine.log if TOKEN in line or AGENT_TOKEN in line] == []


def with_tokens(server: str, agent: str) -> str:
    return bootstrap.server_script(
        SERVER, SITE, founding=True, token=server, agent_token=agent, ca="", known_ca="", snapshot=""
    )


@pytest.mark.parametrize(("which", "tokens"), [("server-token", ("new", AGENT_TOKEN)), ("agent-token", (TOKEN, "new"))])
def test_a_server_keeps_its_tokens_and_names_the_command_that_changes_them(
    machine: FakeMachine, which: str, tokens: tuple[str, str]
) -> None:
    """A server that starts with another token than the cluster's is shut out."""
    finished(machine, founding())
    machine.write("/var/lib/rancher/k3s/server/token", f"K10ca::server:{TOKEN}\n")
    before = machine.files()
    done = machine.run(with_tokens(*tokens))

    assert done.code == 1
    assert f"the {which} is another one" in done.stderr
    assert f"./lyceum secrets rotate SITE {which}" in done.stderr
    assert machine.files() == before
    assert "new" not in done.stderr


def test_an_agent_keeps_its_token(machine: FakeMachine) -> None:
    machine.set_state("api")
    finished(machine, joining())
    machine.write("/var/lib/rancher/k3s/agent/client-kubelet.crt", "")
    done = machine.run(bootstrap.agent_script(WORKER, SITE, token="K10ca::node:new", ca=""))

    assert done.code == 1
    assert "./lyceum secrets rotate SITE agent-token" in done.stderr


def test_the_same_token_in_another_form_is_the_same(machine: FakeMachine) -> None:
    """The first server has the short form, and after its replacement the one with the CA's hash."""
    finished(machine, founding())
    machine.write("/var/lib/rancher/k3s/server/token", f"K10ca::server:{TOKEN}\n")
    machine.write("/etc/rancher/k3s/token", f"K10ca::server:{TOKEN}\n")

    assert machine.run(founding()).code == 0


def test_a_token_that_k3s_never_ran_with_may_be_another(machine: FakeMachine) -> None:
    """A bring-up that was cut before K3s started, with a seed that was replaced since."""
    machine.write("/etc/rancher/k3s/token", "other\n")

    assert machine.run(founding()).code == 0
    assert machine.path("/etc/rancher/k3s/token").read_text() == f"{TOKEN}\n"


def test_kube_vip_gets_the_interface_that_holds_the_address(machine: FakeMachine) -> None:
    machine.run(founding())
    manifest = machine.path("/var/lib/rancher/k3s/server/manifests/kube-vip.yaml").read_text()

    assert "value: ens18" in manifest
    assert bootstrap.INTERFACE_PLACEHOLDER not in manifest


def test_a_changed_manifest_is_no_reason_to_restart(machine: FakeMachine) -> None:
    """K3s watches the directory by itself."""
    finished(machine, founding())
    machine.write("/var/lib/rancher/k3s/server/manifests/kube-vip.yaml", "old")
    machine.run(founding())

    assert machine.calls_of("systemctl restart") == []
    assert machine.path("/var/lib/rancher/k3s/server/manifests/kube-vip.yaml").read_text() != "old"


def test_a_changed_setting_restarts_k3s_once(machine: FakeMachine) -> None:
    finished(machine, founding())
    machine.write(CONFIG, "node-name: old\n")
    machine.run(founding())
    machine.run(founding())

    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]


def test_a_run_that_its_connection_left_behind_is_ended_before_the_next_begins(machine: FakeMachine) -> None:
    """Two at once would write the same files; what was begun, a restart say, is waited for."""
    machine.stub("cloud-init", f": >{machine.state}/hangs; rm -- $0; /bin/sleep 3; echo after >>{machine.state}/log\n")
    with ThreadPoolExecutor() as two:
        first = two.submit(machine.run, founding())
        while not (machine.state / "hangs").exists():
            time.sleep(0.01)
        second = machine.run(founding())

    assert second.code == 0, second.stderr
    assert "server-1: ends an earlier run that is still at work here (process " in second.stderr
    assert first.result().code == -signal.SIGTERM
    assert machine.log[0] == "after", "the second must begin when nothing of the first is left"
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]


CUTS = {
    "between note and file": ("install", 'rm -- "$0"; kill -9 "$LYCEUM_SCRIPT"'),
    "after the file": ("install", 'rm -- "$0"; {real} "$@"; kill -9 "$LYCEUM_SCRIPT"'),
    "half way through the file": ("install", 'rm -- "$0"; printf node >"${{*: -1}}"; kill -9 "$LYCEUM_SCRIPT"'),
    "before the restart": ("systemctl", '[[ $1 != restart ]] || {{ rm -- "$0"; kill -9 "$LYCEUM_SCRIPT"; }}'),
}


@pytest.mark.parametrize("moment", CUTS)
def test_a_run_that_was_cut_off_is_finished_by_the_next(machine: FakeMachine, moment: str) -> None:
    finished(machine, founding())
    machine.write(CONFIG, "node-name: old\n")
    command, body = CUTS[moment]
    kept = (machine.commands / command).read_text() if (machine.commands / command).exists() else ""
    real = shutil.which(command)
    machine.stub(command, body.format(real=real) + kept.removeprefix("#!/bin/bash"))
    assert machine.run(founding()).code == -signal.SIGKILL, "the cut must happen"
    if kept:
        machine.stub(command, kept)
    machine.clear_log()

    assert machine.run(founding()).code == 0
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]
    assert "node-name: server-1" in machine.path(CONFIG).read_text()
    assert not machine.path(PENDING).exists()


def test_k3s_that_does_not_start_is_reported_with_its_journal(machine: FakeMachine) -> None:
    machine.set_state("broken")
    done = machine.run(founding())

    assert done.code == 1
    assert "server-1: k3s did not start; its last lines: the last lines of the journal" in done.stderr
    assert machine.path(PENDING).exists(), "the next run must try again"


def test_a_binary_with_another_checksum_is_neither_installed_nor_run(machine: FakeMachine) -> None:
    machine.serve_k3s(K3S, checksum="f" * 64)
    done = machine.run(founding())

    assert done.code == 1
    assert f"expected {'f' * 64}: not installed" in done.stderr
    assert "https://github.com/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1" in done.stderr, "where it came from"
    assert not machine.path(BINARY).exists()
    assert not machine.path("/usr/local/bin/.k3s.new").exists(), "nothing unverified may stay"
    assert machine.calls_of("k3s") == [], "nothing unverified may run"
    assert machine.calls_of("systemctl restart") == []


def test_a_broken_download_leaves_the_running_binary_alone(machine: FakeMachine) -> None:
    finished(machine, founding())
    machine.write(BINARY, K3S.replace("v1.36.4", "v1.36.3"))
    machine.serve_k3s(K3S[:40], checksum="f" * 64)
    done = machine.run(founding())

    assert done.code == 1
    assert "v1.36.3" in machine.path(BINARY).read_text()
    assert machine.calls_of("systemctl restart") == []


def test_an_older_binary_is_replaced_and_k3s_restarted(machine: FakeMachine) -> None:
    finished(machine, founding())
    machine.write(BINARY, K3S.replace("v1.36.4", "v1.36.3"))
    machine.run(founding())

    assert "v1.36.4" in machine.path(BINARY).read_text()
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]


def test_a_given_checksum_is_held_and_the_mirrors_is_not_asked(machine: FakeMachine) -> None:
    good = machine.serve_k3s(K3S)
    machine.serve_k3s(K3S, checksum="0" * 64)
    call = f"k3s_binary v1.36.4+k3s1 https://mirror {good}"

    assert machine.run(functions(call)).code == 0
    assert [line for line in machine.calls_of("curl") if "sha256sum" in line] == []


def test_downloads_are_verified_with_the_campus_ca_where_there_is_one(machine: FakeMachine) -> None:
    machine.run(founding(ca="-----BEGIN CERTIFICATE-----\n"))
    # Of whose clock it is, nobody need be sure.
    downloads = [line for line in machine.calls_of("curl") if "cacerts" not in line and "--head" not in line]

    assert downloads
    assert [line for line in downloads if "--cacert /etc/lyceum/ca.pem" not in line] == []
    assert [line for line in downloads if "--insecure" in line] == []


def test_every_prefix_of_a_script_does_nothing(machine: FakeMachine) -> None:
    """A connection that breaks while the script is sent must not leave half a machine."""
    script = founding()
    lines = script.splitlines(keepends=True)
    cuts = {"".join(lines[:count]) for count in range(len(lines) - 1, 0, -7)} | {
        script[:-3],
        script[: len(script) // 2],
    }
    for cut in cuts:
        machine.run(cut)

    assert machine.log == []
    assert not machine.path(CONFIG).exists()


def test_a_command_that_reads_its_input_does_not_eat_the_script(machine: FakeMachine) -> None:
    machine.stub("sysctl", "cat >/dev/null\n")

    assert machine.run(founding()).code == 0


def test_a_failed_cloud_init_stops_the_script_with_its_words(machine: FakeMachine) -> None:
    machine.set_state("cloud-init", "status: error\n")
    done = machine.run(founding())

    assert done.code == 1
    assert "server-1: cloud-init did not finish well: status: error; see /var/log/cloud-init-output.log" in done.stderr
    assert machine.calls_of("curl") == []


FULL = {"a file of K3s": "install() { return 1; }", "the note of a restart": "rm -rf /run/"}
"""Lines of a script after which it cannot be written."""


@pytest.mark.parametrize("where", FULL)
def test_a_full_disk_is_named(machine: FakeMachine, where: str) -> None:
    """Whatever it is that does not fit, half a file is never left in its place (fault matrix S5)."""
    message = "cannot write /etc/rancher/k3s/config.yaml: is the disk full? (df -h /etc/rancher/k3s)"
    machine.write(CONFIG, "of before\n")
    done = machine.run(functions(f"{FULL[where]}\nput 0600 {CONFIG} <<<text"))

    assert done.code == 1
    assert f"server-1: {message}" in done.stderr
    assert machine.path(CONFIG).read_text() == "of before\n"


def test_a_disk_that_a_download_fills_is_named(machine: FakeMachine) -> None:
    machine.stub("curl", '[[ $* == *--head* ]] || { echo "curl: (23) Failure writing output" >&2; exit 23; }\n')
    done = machine.run(functions("k3s_binary v1.36.4+k3s1 https://mirror 00"))

    assert done.code == 1
    assert "server-1: cannot write /usr/local/bin/.k3s.new: is the disk full? (df -h /usr/local/bin)" in done.stderr


def test_a_full_disk_under_the_kernels_settings_stops_the_run(machine: FakeMachine) -> None:
    """K3s would refuse to start, and say why in other words."""
    machine.stub("install", '[[ ${*: -1} != */90-lyceum.conf ]] || exit 1\nexec /usr/bin/install "$@"\n')
    done = machine.run(founding())

    assert done.code == 1
    assert "cannot write /etc/sysctl.d/90-lyceum.conf: is the disk full?" in done.stderr


def test_a_full_disk_under_the_manifests_stops_the_run(machine: FakeMachine) -> None:
    """Without kube-vip nobody holds the API's address; a write that fails must not go unnoticed until then."""
    machine.stub("install", '[[ ${*: -1} != */kube-vip.yaml ]] || exit 1\nexec /usr/bin/install "$@"\n')
    done = machine.run(founding())

    assert done.code == 1
    assert "cannot write /var/lib/rancher/k3s/server/manifests/kube-vip.yaml: is the disk full?" in done.stderr
    assert machine.calls_of("systemctl restart") == []


def test_a_machine_without_its_address_is_reported_before_k3s_starts(machine: FakeMachine) -> None:
    machine.stub("ip", 'echo "2: ens18    inet 10.9.0.131/16 scope global ens18"\n')
    done = machine.run(founding())

    assert done.code == 1
    assert (
        "no interface holds 10.9.0.31, the address that the site's file gives this machine: ip -4 addr" in done.stderr
    )
    assert machine.calls_of("systemctl restart") == []


def test_a_password_that_sudo_wants_is_reported_with_the_remedy(machine: FakeMachine) -> None:
    """S5: the run itself fails, and so does `sudo true`."""
    machine.stub("sudo", "echo 'sudo: a password is required' >&2; exit 1\n")
    done = machine.run(founding(), bootstrap.run_as_root())

    assert done.code == 1
    assert "sudo: a password is required" in done.stderr
    assert "would have to type a password for sudo: give it NOPASSWD in /etc/sudoers.d" in done.stderr
    assert machine.log == []


def test_a_script_that_fails_under_a_sudo_that_works_says_nothing_of_sudo(machine: FakeMachine) -> None:
    machine.stub("sudo", 'shift; exec "$@"\n')
    done = machine.run(functions("fail 'no moon'; exit 9"), bootstrap.run_as_root())

    assert (done.code, done.stderr) == (1, "server-1: no moon\n")


@pytest.mark.parametrize("directory", ["/usr/local/bin", "/var/lib/rancher"])
def test_a_disk_that_may_run_nothing_is_reported_before_anything_is_fetched(
    machine: FakeMachine, directory: str
) -> None:
    machine.path(directory).mkdir(parents=True, exist_ok=True)
    machine.stub("findmnt", f'case $* in *{directory}) echo "/data rw,nosuid,noexec" ;; *) echo "/ rw" ;; esac\n')
    done = machine.run(founding())

    assert done.code == 1
    assert f"{directory} lies on /data, which is mounted noexec, and K3s runs programs from there" in done.stderr
    assert "mount -o remount,exec /data" in done.stderr
    assert machine.calls_of("curl") == []


@pytest.mark.lab
def test_a_tmp_that_may_run_nothing_is_no_trouble(machine: FakeMachine, tmp_path: Path) -> None:
    """CIS-hardened images mount it so; a script of ours only ever writes there."""
    (tmp_path / "tmp").mkdir()
    mounted = f"mount -t tmpfs -o noexec none {tmp_path}/tmp && export TMPDIR={tmp_path}/tmp"
    control = (
        f"printf '#!/bin/sh\n' >{tmp_path}/tmp/try && chmod +x {tmp_path}/tmp/try && ! {tmp_path}/tmp/try 2>/dev/null"
    )
    done = machine.run(
        founding(),
        f"exec unshare -rm bash -c '{mounted} && {control} && exec bash -s'".replace("'#!/bin/sh\n'", '"#!/bin/sh\n"'),
    )

    assert done.code == 0, done.stderr
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s"]


def http_date(seconds_from_now: int) -> str:
    return f"HTTP/2 200\r\ndate: {format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_from_now), usegmt=True)}\r\n\r\n"


@pytest.mark.parametrize(
    ("offset", "expected"), [(-3600, "36[0-9][0-9] s ahead of"), (3600, "3[56][0-9][0-9] s behind")]
)
def test_a_clock_that_is_wrong_is_reported_by_how_much(machine: FakeMachine, offset: int, expected: str) -> None:
    """S5: TLS and etcd would only say that a certificate is not yet valid."""
    machine.set_state("api")
    machine.set_state("headers", http_date(offset))
    founder, agent = machine.run(founding()), machine.run(joining())

    for done in (founder, agent):
        assert done.code == 1
        assert re.search(f"server-1: its clock is {expected} that of https://", done.stderr), done.stderr
        assert "Look at timedatectl and chronyc tracking" in done.stderr
    assert machine.calls_of("systemctl restart") == []


def test_a_clock_that_is_nearly_right_is_right(machine: FakeMachine) -> None:
    machine.set_state("headers", http_date(-10))

    assert machine.run(founding()).code == 0


def test_a_first_server_never_founds_a_second_cluster(machine: FakeMachine) -> None:
    """Its disk is empty and the API answers: it is a replacement, or somebody else's address."""
    machine.set_state("api")
    done = machine.run(founding())

    assert done.code == 1
    assert f"something already answers at {URL}, and this machine has no etcd data" in done.stderr
    assert "./lyceum node replace server-1" in done.stderr
    assert not machine.path(JOIN).exists()
    assert machine.calls_of("systemctl restart") == []


def test_a_replaced_first_server_joins_the_cluster_that_is_known(machine: FakeMachine) -> None:
    machine.set_state("api")
    done = machine.run(founding(known_ca="ca" * 32))

    assert done.code == 0, done.stderr
    assert machine.path(JOIN).read_text() == f"server: {URL}\n"
    assert machine.path("/etc/rancher/k3s/token").read_text() == f"K10{'ca' * 32}::server:{TOKEN}\n"


def test_a_first_server_with_etcd_data_keeps_its_way_of_joining(machine: FakeMachine) -> None:
    machine.write("/var/lib/rancher/k3s/server/db/etcd/name", "server-1")
    machine.write(JOIN, "cluster-init: true\n")
    machine.set_state("api")

    assert machine.run(founding()).code == 0
    assert machine.path(JOIN).read_text() == "cluster-init: true\n"


SNAPSHOT = "/run/snapshot.db"
RESET = f"k3s server --cluster-reset --etcd-s3=false --cluster-reset-restore-path={SNAPSHOT}"
RESTORING = "/var/lib/rancher/k3s/restoring"


def place_of(machine: FakeMachine, start: str) -> int:
    return next(index for index, line in enumerate(machine.log) if line.startswith(start))


def test_a_restore_comes_before_the_start_and_forgets_the_machines_of_before(machine: FakeMachine) -> None:
    """K3s refuses a known name with an unknown password."""
    machine.write(SNAPSHOT, "etcd")
    done = machine.run(founding(snapshot=SNAPSHOT))

    assert done.code == 0, done.stderr
    assert place_of(machine, RESET) < place_of(machine, "systemctl restart k3s")
    [secrets] = machine.calls_of("k3s kubectl -n kube-system delete secret")
    [nodes] = machine.calls_of("k3s kubectl delete node")
    members = [f"{node.name}.node-password.k3s" for node in SITE.machines if node.in_cluster]
    assert {"server-1.node-password.k3s", f"{WORKER.name}.node-password.k3s"} <= set(members)
    assert set(members) <= set(secrets.split()), "a worker may have been lost, too"
    assert nodes.split()[-2:] == ["server-2", "server-3"], "the restored server's own Node is the one it registers"


def test_a_restored_server_that_is_the_only_one_has_no_other_to_forget(machine: FakeMachine) -> None:
    """Asked to delete Nodes without a name, kubectl fails, and the restore would never end."""
    machine.write(BINARY, K3S)
    machine.path(BINARY).chmod(0o755)
    done = machine.run(functions(f"forget_machines 1 server-1 {WORKER.name}"))

    assert done.code == 0, done.stderr
    assert machine.calls_of("k3s kubectl delete node") == []


def test_a_restored_server_is_not_restored_again(machine: FakeMachine) -> None:
    """It would throw away what happened since."""
    machine.write(SNAPSHOT, "etcd")
    finished(machine, founding(snapshot=SNAPSHOT))
    machine.write(SNAPSHOT, "etcd")
    machine.run(founding(snapshot=SNAPSHOT))

    assert machine.calls_of(RESET) == []
    assert not machine.path(RESTORING).exists()


def test_a_restore_that_was_interrupted_starts_from_the_beginning(machine: FakeMachine) -> None:
    machine.write(SNAPSHOT, "etcd")
    machine.serve_k3s(K3S.replace("case $* in", 'case $* in\n*cluster-reset*) kill -9 "$LYCEUM_SCRIPT" ;;'))
    assert machine.run(founding(snapshot=SNAPSHOT)).code == -signal.SIGKILL
    machine.write("/var/lib/rancher/k3s/server/db/etcd/name", "half a restore")
    machine.write(BINARY, K3S)
    machine.clear_log()

    assert machine.run(founding(snapshot=SNAPSHOT)).code == 0
    assert len(machine.calls_of(RESET)) == 1


def test_a_restore_never_starts_a_second_cluster(machine: FakeMachine) -> None:
    """Servers of before are on their way out; while one of them answers, nothing is restored."""
    machine.write(SNAPSHOT, "etcd")
    machine.set_state("api")
    done = machine.run(founding(snapshot=SNAPSHOT).replace("wait_until 600", "wait_until 1"))

    assert done.code == 1
    assert f"a server of before still answers at {URL}" in done.stderr
    assert machine.calls_of(RESET) == []
    assert machine.calls_of("systemctl restart") == []


def test_a_snapshot_that_cannot_be_restored_is_reported_with_the_reason(machine: FakeMachine) -> None:
    machine.write(SNAPSHOT, "not etcd")
    machine.serve_k3s(K3S.replace("case $* in", "case $* in\n*cluster-reset*) echo 'snapshot is corrupt'; exit 1 ;;"))
    done = machine.run(founding(snapshot=SNAPSHOT))

    assert done.code == 1
    assert f"etcd could not be restored from {SNAPSHOT}: " in done.stderr
    assert "snapshot is corrupt" in done.stderr
    assert machine.calls_of("systemctl restart") == []


KEYS = "/var/lib/lyceum-backup/.ssh/authorized_keys"
RIGHT = "/etc/sudoers.d/90-lyceum-backup"


def test_the_backup_key_may_fetch_snapshots_and_nothing_else(machine: FakeMachine) -> None:
    assert machine.run(guarded(LINE)).code == 0

    command = machine.path("/usr/local/sbin/lyceum-snapshots")
    [key] = machine.path(KEYS).read_text().splitlines()
    assert key.startswith(f'restrict,from="10.9.0.99",command="{command}" ecdsa-sha2-nistp256 AAAA')
    assert machine.path(RIGHT).read_text() == f"lyceum-backup ALL=(root) NOPASSWD: {command}\n"
    files = machine.files()
    assert (files[RIGHT][1], files["/usr/local/sbin/lyceum-snapshots"][1]) == (0o440, 0o755)


def test_who_may_fetch_snapshots_is_no_reason_to_restart(machine: FakeMachine) -> None:
    finished(machine, founding())
    machine.run(guarded(LINE))

    assert machine.calls_of("systemctl restart") == []


def test_a_second_run_makes_no_second_account(machine: FakeMachine) -> None:
    finished(machine, guarded(LINE))
    before = machine.files()

    assert machine.run(guarded(LINE)).code == 0
    assert machine.files() == before
    assert machine.calls_of("useradd") == []


def test_without_an_operators_machine_the_key_is_taken_back(machine: FakeMachine) -> None:
    finished(machine, guarded(LINE))
    machine.run(guarded(""))

    assert not machine.path(KEYS).exists()
    assert not machine.path(RIGHT).exists()


@pytest.mark.parametrize("name", ["../../../etc/passwd", "-rf", "a/b", "gone", ""])
def test_only_snapshots_have_names_that_can_be_asked_for(machine: FakeMachine, name: str) -> None:
    machine.write("/var/lib/rancher/k3s/server/db/snapshots/etcd-1", "etcd")
    machine.write("/etc/passwd", "root")
    asked = snapshot_access.SNAPSHOTS_SH.replace("if ((EUID)); then", "if false; then")
    done = machine.run(f"set -- get {shlex.quote(name)}\n{asked}")

    assert (done.code, done.stdout) == (2, "")
    assert "this key may `list` and `get NAME`, nothing else" in done.stderr


@pytest.mark.parametrize("words", ["", "reboot", "list all", "get", "get a b", "sh -c id"])
def test_no_other_words_do_anything(machine: FakeMachine, words: str) -> None:
    asked = snapshot_access.SNAPSHOTS_SH.replace("if ((EUID)); then", "if false; then")
    done = machine.run(f"set -- {words}\n{asked}")

    assert (done.code, done.stdout) == (2, "")


def test_a_snapshot_is_printed_after_its_checksum_and_release(machine: FakeMachine) -> None:
    machine.write("/var/lib/rancher/k3s/server/db/snapshots/etcd-1", "etcd")
    machine.write(BINARY, K3S)
    machine.path(BINARY).chmod(0o755)
    asked = snapshot_access.SNAPSHOTS_SH.replace("if ((EUID)); then", "if false; then")
    done = machine.run(f"set -- get etcd-1\n{asked}")

    assert done.stdout == f"{hashlib.sha256(b'etcd').hexdigest()} v1.36.4+k3s1 2\netcd", "the stand-in has two nodes"


def test_an_agent_joins_at_the_api_address_with_its_token(machine: FakeMachine) -> None:
    machine.set_state("api")
    done = machine.run(joining())

    assert done.code == 0, done.stderr
    assert machine.path(JOIN).read_text() == f"server: {URL}\n"
    assert machine.path("/etc/rancher/k3s/token").read_text() == f"K10ca::node:{AGENT_TOKEN}\n"
    assert machine.calls_of("systemctl restart") == ["systemctl restart k3s-agent"]
    assert done.stdout == "", "an agent has nothing to tell that could be secret"


def test_an_agent_runs_nothing_as_a_server(machine: FakeMachine) -> None:
    machine.set_state("api")
    machine.run(joining())

    assert not machine.path("/etc/systemd/system/k3s.service").exists()
    assert not machine.path("/etc/rancher/k3s/agent-token").exists()


def test_members_get_their_roles_when_they_are_ready(machine: FakeMachine) -> None:
    machine.write(BINARY, K3S)
    machine.path(BINARY).chmod(0o755)
    done = machine.run(bootstrap.members_script(SITE.machines))

    assert done.code == 0, done.stderr
    assert machine.calls_of("k3s kubectl label") == [
        "k3s kubectl label node --overwrite gpu-1 gpu-2 node-role.kubernetes.io/worker=true"
    ], "one call for all workers: forty must not cost more than two"
    assert len(machine.calls_of("k3s kubectl apply --server-side")) == 1, "one call for all labels, too"
    asked = " ".join(machine.calls_of("k3s kubectl get"))
    assert all(f"node server-{number} " in asked for number in (1, 2, 3)), "servers must be Ready too, and voters"


def test_a_wait_ends_and_says_so_while_it_lasts(machine: FakeMachine) -> None:
    done = machine.run(functions("wait_until 1 'the moon' false || fail 'no moon'"))

    assert done.code == 1
    assert "server-1: waiting for the moon (0 s of 1 s)" in done.stderr
    assert done.stderr.endswith("server-1: no moon\n")


def test_a_node_that_is_not_ready_gets_no_role(machine: FakeMachine) -> None:
    machine.write(BINARY, K3S)
    machine.path(BINARY).chmod(0o755)
    machine.set_state("ready", "False")
    done = machine.run(functions("members worker gpu-1 gpu-2").replace("wait_until 300", "wait_until 1"))

    assert done.code == 1
    assert "not Ready after 300 s: gpu-1 gpu-2" in done.stderr
    assert machine.calls_of("k3s kubectl label") == []


@pytest.mark.parametrize("name", ["founder", "joiner", "agent", "members", "guarded", "snapshots"])
def test_shellcheck_finds_nothing(tmp_path: Path, name: str) -> None:
    scripts = {
        "founder": founding(),
        "joiner": bootstrap.server_script(
            SITE.machines[1], SITE, founding=False, token="K10ca::server:t", agent_token=AGENT_TOKEN, ca="PEM"
        ),
        "agent": joining(),
        "members": bootstrap.members_script(SITE.machines),
        "guarded": guarded(LINE),
        "snapshots": snapshot_access.SNAPSHOTS_SH,
    }
    path = tmp_path / "script.sh"
    path.write_text(scripts[name])
    checker = Path(sys.executable).parent / "shellcheck"
    # A script holds every function and calls those it needs.
    ignored = "--exclude=SC2317,SC2329"
    done = subprocess.run([checker, "--shell=bash", ignored, path], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0, done.stderr
