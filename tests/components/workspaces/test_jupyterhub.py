"""JupyterHub's values, and the filter that decides who sees which profile, really run."""

from types import SimpleNamespace
from typing import Any

import pytest

from components.workspaces import jupyterhub
from config.site import Site
from tests.support.layers import HUB, RELEASE, layers_graph
from tests.support.sites import Settings, site, with_cards

LAB: Settings = {"workspaces": {"jupyterhub": {"authenticator": "dummy", "allowed-groups": ["students"]}}}
GROUPS: Settings = {"workspaces": {"jupyterhub": {"gpu-groups": ["cpsHPCAccess"], "admin-groups": ["jupyter_admin"]}}}


def values(campus: Site) -> dict[str, Any]:
    return jupyterhub.values(campus, campus.machines, HUB)


def offered_to(campus: Site, *groups: str) -> list[str]:
    """Profiles that the hub shows to a member of these groups: its configuration, run as the hub runs it."""
    code = values(campus)["hub"]["extraConfig"]["profiles"]
    configuration = SimpleNamespace(KubeSpawner=SimpleNamespace())
    exec(code, {"c": configuration})
    user = SimpleNamespace(groups=[SimpleNamespace(name=name) for name in groups])
    shown = configuration.KubeSpawner.profile_list(SimpleNamespace(user=user))
    return [profile["slug"] for profile in shown]


def test_a_user_sees_only_the_profiles_of_his_groups() -> None:
    """R26; hidden on the page alone, a profile could still be asked for."""
    campus = with_cards({}, changes=GROUPS)

    assert offered_to(campus) == ["cpu"]
    assert offered_to(campus, "students") == ["cpu"]
    assert offered_to(campus, "students", "cpsHPCAccess") == ["cpu", "a100-40gb-1-pytorch", "a100-40gb-1-tensorflow"]


def test_a_title_cannot_break_out_of_the_filter() -> None:
    """It is written into the hub's configuration, which is a program."""
    title = "'); raise SystemExit('''\\"
    own = [
        {
            "name": "mine",
            "title": title,
            "cores": 1,
            "memory": "1 GiB",
            "image": "quay.io/jupyter/base:1",
            "groups": ["a'b"],
        }
    ]

    assert offered_to(site({"workspaces": {"jupyterhub": {"profiles": own}}}), "a'b") == ["mine"]


def test_without_groups_profiles_are_plain_values() -> None:
    """The image pullers then see their images."""
    campus = with_cards({})

    assert values(campus)["singleuser"]["profileList"][0]["slug"] == "cpu"
    assert "extraConfig" not in values(campus)["hub"]


def test_the_universitys_login_decides_who_is_admitted() -> None:
    """OAuthenticator 17: group rules need `manage_groups`, and without a rule nobody gets in."""
    config = values(site({"workspaces": {"jupyterhub": {"allowed-groups": ["students"]}}}))["hub"]["config"]
    login = config["GenericOAuthenticator"]

    assert config["JupyterHub"]["authenticator_class"] == "generic-oauth"
    assert (login["manage_groups"], login["allow_all"]) == (True, False)
    assert (login["allowed_groups"], login["admin_groups"]) == (["students"], ["jupyter_admin"])
    assert login["oauth_callback_url"] == "https://jupyter.campus.example/hub/oauth_callback"


def test_the_labs_password_is_secret_and_no_other_sites() -> None:
    lab, real = layers_graph(site(LAB)), layers_graph(site())

    reported = lab.one(RELEASE, "jupyterhub").inputs["values"]["hub"]["config"]["DummyAuthenticator"]
    assert reported["password"] == HUB
    assert lab.leaks(HUB) == []
    assert HUB not in str(real.one(RELEASE, "jupyterhub").inputs), "a site with log-ins has no shared password"


def test_notebooks_obey_the_restricted_level() -> None:
    """Their namespace refuses anything else."""
    singleuser = values(site())["singleuser"]

    assert singleuser["cloudMetadata"] == {"blockWithIptables": False}, "the alternative is a privileged container"
    assert singleuser["allowPrivilegeEscalation"] is False
    assert singleuser["extraPodConfig"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_data_loaders_have_memory_to_share() -> None:
    """The default /dev/shm of 64 MiB ends every PyTorch loader with workers."""
    storage = values(site())["singleuser"]["storage"]
    [volume], [mount] = storage["extraVolumes"], storage["extraVolumeMounts"]

    assert volume == {"name": mount["name"], "emptyDir": {"medium": "Memory"}}
    assert mount["mountPath"] == "/dev/shm"


@pytest.mark.parametrize(
    ("storage", "name"),
    [
        ({"nfs": {"server": "nfs.campus.example", "share": "/homes"}}, "nfs-client"),
        ({}, "ceph-block"),
        ({"ceph": {"enabled": False}}, "local-path"),
    ],
)
def test_homes_are_where_the_site_keeps_them(storage: Settings, name: str) -> None:
    found = values(site({"platform": {"storage": storage}}))["singleuser"]["storage"]

    assert found["dynamic"] == {"storageClass": name}


def test_a_home_is_as_large_as_the_site_says() -> None:
    assert (
        values(site({"workspaces": {"jupyterhub": {"home": "50 GiB"}}}))["singleuser"]["storage"]["capacity"] == "50Gi"
    )


def test_an_upgrade_waits_for_no_image_on_every_node() -> None:
    """They are ten GiB and more."""
    assert values(site())["prePuller"] == {"hook": {"enabled": False}, "continuous": {"enabled": False}}


def test_the_hub_is_reached_through_the_way_in_with_its_own_certificate() -> None:
    ingress = values(site())["ingress"]

    assert (ingress["hosts"], ingress["ingressClassName"]) == (["jupyter.campus.example"], "nginx")
    assert ingress["annotations"] == {"cert-manager.io/cluster-issuer": "campus"}
    assert ingress["tls"] == [{"secretName": "jupyterhub-tls", "hosts": ["jupyter.campus.example"]}]
    assert values(site())["proxy"]["service"]["type"] == "ClusterIP", "no second way in"
