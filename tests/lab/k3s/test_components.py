"""The components get K3s's flags, and people's own on top; the launcher is K3s's to the eye of a script."""

import hashlib
from pathlib import Path

import pytest
import yaml

from lab.k3s import checksums, components, kube_vip, kwok, launcher, manifests, packaged
from lab.k3s.cli import version
from lab.k3s.client import RefusedError, supervisor_url
from lab.k3s.config import Options
from lab.k3s.paths import Paths

PATHS = Paths(Path("/var/lib/rancher/k3s"))


def flags(command: list[str]) -> dict[str, str]:
    return dict(word.removeprefix("--").partition("=")[::2] for word in command[2:])


def apiserver(*arguments: str) -> dict[str, str]:
    return flags(components.apiserver(PATHS, Options({"kube-apiserver-arg": arguments}), "10.21.0.35"))


def test_a_setting_of_ones_own_replaces_the_default() -> None:
    given = apiserver("enable-admission-plugins=NodeRestriction,EventRateLimit", "audit-log-maxage=30")
    assert given["enable-admission-plugins"] == "NodeRestriction,EventRateLimit"
    assert given["audit-log-maxage"] == "30"


def test_no_flag_is_given_twice() -> None:
    options = Options({"kube-apiserver-arg": ("enable-admission-plugins=NodeRestriction,EventRateLimit",)})
    names = [word.partition("=")[0] for word in components.apiserver(PATHS, options, "10.21.0.35")]
    assert len(names) == len(set(names)), "the API server adds up lists that it is given twice"


def test_webhooks_stay_off_whatever_else_is_disabled() -> None:
    assert apiserver("disable-admission-plugins=PodNodeSelector")["disable-admission-plugins"].split(",") == [
        "PodNodeSelector",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionWebhook",
    ], "a webhook whose pod does not really run would refuse every request"


def test_policies_and_pod_security_stay_on() -> None:
    assert {"ValidatingAdmissionPolicy", "PodSecurity"}.isdisjoint(apiserver()["disable-admission-plugins"].split(","))


def test_nobody_is_anonymous() -> None:
    assert apiserver()["anonymous-auth"] == "false"


def test_a_member_without_data_joins_an_existing_cluster() -> None:
    command = components.etcd(PATHS, Options({}), "cp2-1", "10.21.0.36", "cp1-1=x,cp2-1=y", new=False)
    assert flags(command)["initial-cluster-state"] == "existing"


def test_etcd_shows_its_metrics_only_when_asked() -> None:
    hidden = components.etcd(PATHS, Options({}), "a", "10.21.0.36", "", new=True)
    shown = components.etcd(PATHS, Options({"etcd-expose-metrics": ("true",)}), "a", "10.21.0.36", "", new=True)
    assert "10.21.0.36" not in flags(hidden)["listen-metrics-urls"]
    assert "10.21.0.36:2381" in flags(shown)["listen-metrics-urls"]


def test_the_mirrors_checksum_is_the_launchers() -> None:
    line = checksums("v1.36.3+k3s1").decode()
    assert line == f"{hashlib.sha256(launcher('v1.36.3+k3s1')).hexdigest()}  k3s\n"


def test_two_versions_have_two_launchers() -> None:
    assert launcher("v1.36.3+k3s1") != launcher("v1.36.4+k3s1"), "an upgrade must show in the checksum"


def test_the_version_is_printed_as_k3s_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_K3S_VERSION", "v1.36.4+k3s1")
    assert version().splitlines()[0].startswith("k3s version v1.36.4+k3s1 (")


def test_disabled_components_are_not_deployed() -> None:
    names = packaged.packaged_manifests(Options({"disable": ("coredns", "runtimes")}))
    assert sorted(names) == ["local-storage.yaml", "metrics-server.yaml"]


def test_the_packaged_manifests_are_objects_with_names() -> None:
    for text in packaged.packaged_manifests(Options({})).values():
        for item in manifests.read_documents(text):
            assert item["kind"]
            assert item["metadata"]["name"]


def test_lists_in_a_manifest_are_taken_apart() -> None:
    text = yaml.safe_dump({"kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]})
    assert [item["kind"] for item in manifests.read_documents(text)] == ["A", "B"]


def daemon_set(**env: str) -> dict[str, object]:
    variables = [{"name": name, "value": value} for name, value in env.items()]
    container = {"image": "ghcr.io/kube-vip/kube-vip:v1", "env": variables}
    return {"kind": "DaemonSet", "spec": {"template": {"spec": {"containers": [container]}}}}


def test_kube_vips_settings_are_read_from_its_environment() -> None:
    found = kube_vip.find_settings([daemon_set(address="10.21.0.30", cp_enable="true", vip_interface="ens18")], "eth0")
    assert found == kube_vip.VipSettings("10.21.0.30", "ens18")


def test_kube_vip_takes_the_nodes_interface_when_none_is_named() -> None:
    found = kube_vip.find_settings([daemon_set(address="10.21.0.30", cp_enable="true")], "eth1")
    assert found is not None
    assert found.interface == "eth1"


def test_kube_vip_for_services_alone_holds_no_control_plane_address() -> None:
    assert kube_vip.find_settings([daemon_set(address="10.21.0.30", svc_enable="true")], "eth0") is None


def test_the_supervisor_is_found_from_the_servers_url() -> None:
    assert supervisor_url("https://10.21.0.30:6443") == "https://10.21.0.30:9345"
    with pytest.raises(RefusedError, match="only https"):
        supervisor_url("http://10.21.0.30:6443")


def test_kwok_watches_its_own_node_alone() -> None:
    options = next(yaml.safe_load_all(kwok.build_configuration("wk1")))["options"]
    assert options["manageSingleNode"] == "wk1"
    assert not options["manageAllNodes"]
