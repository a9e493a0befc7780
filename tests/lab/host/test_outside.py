"""What is decided outside a campus, without one."""

import datetime as dt
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from config.load import load_site
from lab import campus, certificates
from lab.real_pods import RealPods
from lab.report import describe_parts, find_kubeconfig
from lab.rundir import RunDir
from lab.spec import SpecError, choose_real_nodes, spec_from_site
from tests.lab.host.vms import vm


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """The run directory of every lab that is asked for."""
    directory = RunDir(tmp_path)
    monkeypatch.setattr(RunDir, "of", lambda _name: directory)
    return directory


def started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_a_pid_file_of_a_living_process_is_believed(run: RunDir) -> None:
    run.pid.write_text(f"{os.getpid()} {started(os.getpid())}\n")
    assert campus.read_pid("any") == os.getpid()


def test_a_pid_that_was_given_to_another_process_is_known_by_its_start_time(run: RunDir) -> None:
    run.pid.write_text(f"{os.getpid()} 12345\n")
    assert campus.read_pid("any") is None


def test_a_zombie_is_no_campus(run: RunDir) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        run.pid.write_text(f"{process.pid} {started(process.pid)}\n")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert campus.read_pid("any") is None


def test_a_lab_that_is_down_says_how_to_bring_it_up(run: RunDir) -> None:
    with pytest.raises(campus.NotRunning, match="lyceum lab up"):
        campus.enter_command("any")


def test_an_ordinary_user_without_ids_for_vms_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65533)
    monkeypatch.setattr("shutil.which", lambda tool, path: f"/usr/bin/{tool}")
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: SimpleNamespace(pw_name="ada"))
    with pytest.raises(campus.CampusError, match="usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada"):
        campus.namespace_command()


def test_a_machine_without_iproute2_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool, path: None if tool == "ip" else f"/usr/bin/{tool}")
    with pytest.raises(campus.CampusError, match=r"missing: ip\. Remedy: apt-get install util-linux iproute2"):
        campus.namespace_command()


def test_a_project_whose_path_overlay_cannot_take_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDir, "of", lambda _name: RunDir(Path("/srv/a:b/lab")))
    with pytest.raises(campus.CampusError, match="take no path with `:`"):
        campus.up(b"", "any", report=print)


def test_the_kubeconfig_points_at_the_server_and_not_at_loopback() -> None:
    files = {12: "server: https://127.0.0.1:6443\n"}
    machines = [SimpleNamespace(pid=11, vm=vm(1)), SimpleNamespace(pid=12, vm=vm(2))]
    hypervisor = SimpleNamespace(machines=lambda: machines)
    found = find_kubeconfig(hypervisor, read=lambda pid, _path: files.get(pid))  # type: ignore[arg-type]  # what it uses
    assert found == "server: https://10.21.1.2:6443\n"


def test_a_lab_site_becomes_a_campus_with_its_administrators_work_done() -> None:
    spec = spec_from_site(load_site("lab"), "lab")
    assert [node.name for node in spec.nodes] == ["pve1", "pve2"]
    assert str(spec.mirror) == "10.21.0.2", "where the site's `charts` point"
    assert spec.setup
    mapped = {call.params["id"]: call.params["map"] for call in spec.setup.before_token if "map" in call.params}
    assert [entry.partition("path=")[2][:12] for entry in mapped["lyceum-gpu-2"]] == ["0000:81:00.0", "0000:c1:00.0"]


def test_forty_workstations_can_be_simulated_too() -> None:
    spec = spec_from_site(load_site("forty-workstations"), "forty")
    assert len(spec.nodes) == 40
    assert spec.mirror in spec.cidr


def test_pods_are_real_on_the_first_gpu_workers() -> None:
    assert choose_real_nodes(load_site("lab"), None) == ("gpu-1", "gpu-2", "gpu-3", "gpu-4")


def test_pods_can_be_real_on_no_node() -> None:
    assert choose_real_nodes(load_site("lab"), "none") == ()


def test_a_real_node_must_be_one_of_the_site() -> None:
    with pytest.raises(SpecError, match="lab has no node gpu-9; it has: server-1, "):
        choose_real_nodes(load_site("lab"), "gpu-9")


def test_status_names_the_nodes_whose_pods_are_real() -> None:
    pods = RealPods(("gpu-1", "gpu-2"), ("docker.io/lab/web:1",), "http://10.21.0.2:5000")
    parts = {part: how for part, how, _ in describe_parts(pods, [])}
    assert parts["kubelet, pods"] == "real on gpu-1, gpu-2"


def test_status_names_what_real_pods_lack() -> None:
    means = {part: means for part, _, means in describe_parts(None, ["labnode"])}
    assert "this machine lacks labnode" in means["kubelet, pods"]


def test_the_served_certificate_is_good_for_every_address_and_signed_by_the_labs_ca(tmp_path: Path) -> None:
    ca, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    certificates.ensure_authority(ca, key, "test")
    certificates.issue((ca, key), ["pve1"], ["10.21.0.11"], tmp_path / "server.pem", tmp_path / "server.key")
    context = ssl.create_default_context(cafile=str(ca))
    assert context.cert_store_stats()["x509_ca"] == 1, "it must be usable as an authority"
    served = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    served.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.read_bytes()))
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.21.0.11"]
    assert served.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=300)
    assert key.stat().st_mode & 0o077 == 0


def test_the_authority_stays_the_same_from_one_start_to_the_next(tmp_path: Path) -> None:
    ca, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    certificates.ensure_authority(ca, key, "test")
    first = ca.read_bytes()
    certificates.ensure_authority(ca, key, "test")
    assert ca.read_bytes() == first


def test_status_names_every_part_that_is_not_real() -> None:
    from lab.report import PARTS  # noqa: PLC0415  # beside its use

    table = Path(__file__).parents[3] / "docs/lab.md"
    missing = [part for part, _, _ in PARTS if part not in table.read_text()]
    assert json.dumps(missing) == "[]", "docs/lab.md and `lab status` must say the same"
