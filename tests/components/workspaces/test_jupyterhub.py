"""JupyterHub's values: who is admitted, what is offered, and how a notebook's pod is made."""

from typing import Any

import pytest

from components.workspaces import jupyterhub
from config.site import OIDC_CA_FILE, Site
from tests.support.layers import HUB, RELEASE, layers_graph
from tests.support.sites import Settings, site, with_cards

CLIENT = "the-secret-oidc-client-secret"
LAB: Settings = {"workspaces": {"jupyterhub": {"authenticator": "dummy", "allowed-groups": ["students"]}}}
GROUPS: Settings = {"workspaces": {"jupyterhub": {"gpu-groups": ["cpsHPCAccess"], "admin-groups": ["jupyter_admin"]}}}
OIDC: Settings = {"issuer": "https://login.campus.example/realms/campus", "client-id": "lyceum"}


def values(campus: Site) -> dict[str, Any]:
    secrets = {"hub-password": HUB, "oidc-client-secret": CLIENT}
    return jupyterhub.values(campus, campus.machines, secrets, {OIDC_CA_FILE: "the provider's CA"})


def with_provider(**changes: Any) -> Site:
    """The small campus with an identity provider."""
    hub = {"allowed-groups": ["students"]}
    return site({"identity": {"oidc": OIDC | changes}, "workspaces": {"jupyterhub": hub}})


def login(campus: Site) -> dict[str, Any]:
    """What the hub's authenticator is told."""
    found: dict[str, Any] = values(campus)["hub"]["config"]["CampusAuthenticator"]
    return found


def offered(campus: Site) -> dict[str, dict[str, Any]]:
    """Profiles that the hub knows, by name."""
    return {one["slug"]: one for one in values(campus)["custom"]["lyceum"]["profiles"]}


def test_profiles_travel_with_the_groups_that_may_start_them() -> None:
    """R26; the hub refuses the others, however they are asked for (test_lyceum_hub.py)."""
    found = offered(with_cards({}, changes=GROUPS))

    assert found["cpu"]["groups"] == []
    assert found["a100-40gb-1-pytorch"]["groups"] == ["cpsHPCAccess"]
    assert "profileList" not in values(site())["singleuser"], "one list: the hub's own module has it"


def test_every_notebook_waits_in_a_queue() -> None:
    """K2.10: notebooks and jobs share cards, cores and memory, so one book holds both."""
    labels = {name: made["kubespawner_override"]["extra_labels"] for name, made in offered(with_cards({})).items()}

    assert labels.keys() >= {"cpu", "a100-40gb-1-pytorch"}
    assert all(label == {"kueue.x-k8s.io/queue-name": "notebooks"} for label in labels.values())


def test_the_hubs_namespace_has_the_queue_of_its_notebooks() -> None:
    """A label that names a queue of another namespace holds the pod for ever."""
    graph = layers_graph(site(LAB))
    queues = [one.inputs for one in graph.by_urn.values() if one.inputs.get("kind") == "LocalQueue"]

    [local] = [queue for queue in queues if queue["metadata"]["namespace"] == "jupyterhub"]
    assert (local["metadata"]["name"], local["spec"]) == ("notebooks", {"clusterQueue": "campus"})


def test_without_queues_nothing_names_one() -> None:
    off = {**LAB, "platform": {"queues": {"enabled": False}}}
    kinds = {one.inputs.get("kind") for one in layers_graph(site(off)).by_urn.values()}

    assert "LocalQueue" not in kinds
    assert "extra_labels" not in offered(with_cards({}, changes=off))["a100-40gb-1-pytorch"]["kubespawner_override"]


def test_the_universitys_login_decides_who_is_admitted() -> None:
    """OAuthenticator 17: group rules need `manage_groups`, and without a rule nobody gets in."""
    found = login(with_provider())

    assert (found["manage_groups"], found["allow_all"], found["enable_auth_state"]) == (True, False, True)
    assert (found["allowed_groups"], found["admin_groups"]) == (["students"], ["jupyter_admin"])


def test_the_hub_is_told_where_and_as_whom_people_log_in() -> None:
    """K1.5: it was Ready with all of this empty, and sent people to `?client_id=`."""
    found = login(with_provider())

    assert (found["client_id"], found["client_secret"]) == ("lyceum", CLIENT)
    assert found["issuer"] == "https://login.campus.example/realms/campus"
    assert found["oauth_callback_url"] == "https://jupyter.campus.example/hub/oauth_callback"
    assert found["after_logout_url"] == "https://jupyter.campus.example/hub/"
    assert (found["username_claim"], found["auth_state_groups_key"]) == ("preferred_username", "oauth_user.groups")
    assert found["scope"] == ["openid", "profile", "email", "groups"]
    assert "endpoints" not in found, "they are read from the issuer"


def test_a_provider_with_its_own_ways_is_settable() -> None:
    """Entra refuses the scope `groups`, and has groups only in the ID token."""
    found = login(
        with_provider(
            **{
                "scopes": ["openid", "offline_access"],
                "username-claim": "sub",
                "groups-claim": "realm_access.roles",
                "claims-in": "id-token",
            }
        )
    )

    assert found["scope"] == ["openid", "offline_access"]
    assert (found["username_claim"], found["auth_state_groups_key"]) == ("sub", "oauth_user.realm_access.roles")
    assert found["userdata_from_id_token"] is True


def test_addresses_without_a_discovery_document_are_settable() -> None:
    base = "https://login.campus.example"
    paths = {"authorize-url": "a", "token-url": "t", "userinfo-url": "u", "logout-url": "o"}
    given = {name: f"{base}/{path}" for name, path in paths.items()}

    assert login(with_provider(endpoints=given))["endpoints"] == {
        "authorization_endpoint": f"{base}/a",
        "token_endpoint": f"{base}/t",
        "userinfo_endpoint": f"{base}/u",
        "end_session_endpoint": f"{base}/o",
    }


def test_a_private_ca_reaches_the_hub_as_a_file() -> None:
    campus = with_provider(**{"ca-file": "login-ca.pem"})
    mounted = values(campus)["hub"]["extraFiles"]["login-ca.crt"]

    assert mounted["stringData"] == "the provider's CA"
    assert login(campus)["http_request_kwargs"] == {"ca_certs": mounted["mountPath"]}
    assert "http_request_kwargs" not in login(with_provider()), "a public provider is held against the public roots"


def test_the_hub_runs_lyceums_module() -> None:
    hub = values(site())["hub"]
    [mounted] = hub["extraFiles"].values()

    assert mounted["mountPath"] == "/usr/local/etc/jupyterhub/lyceum_hub.py"
    assert "class CampusSpawner(KubeSpawner)" in mounted["stringData"]
    assert hub["extraConfig"] == {"lyceum": "import lyceum_hub\nlyceum_hub.configure(c, get_config('custom.lyceum'))\n"}


def test_refusals_and_waits_do_not_end_the_hub() -> None:
    """P1: five refusals ended it for everybody. P5: 64 who wait kept all others out. P6: a long wait was a failure."""
    found = values(site())

    assert (found["hub"]["consecutiveFailureLimit"], found["hub"]["concurrentSpawnLimit"]) == (0, 0)
    assert found["singleuser"]["startTimeout"] == 43200
    assert found["custom"]["lyceum"]["start-seconds"] == 1200


def test_a_secret_of_the_login_is_secret_and_no_other_sites() -> None:
    lab, real = layers_graph(site(LAB)), layers_graph(with_provider())

    config = {
        name: graph.one(RELEASE, "jupyterhub").inputs["values"]["hub"]["config"]
        for name, graph in (
            ("lab", lab),
            ("real", real),
        )
    }
    assert config["lab"]["DummyAuthenticator"]["password"] == HUB
    assert config["real"]["CampusAuthenticator"]["client_secret"] == CLIENT
    assert lab.leaks(HUB) == real.leaks(CLIENT) == []
    assert HUB not in str(real.one(RELEASE, "jupyterhub").inputs), "a site with log-ins has no shared password"


def test_a_campus_whose_provider_is_still_planned_admits_nobody() -> None:
    """The hub says so (test_lyceum_hub.py); a log-in with empty addresses would lead nowhere."""
    assert not {"issuer", "client_id", "client_secret"} & login(site()).keys()


def test_notebooks_need_no_privileged_container() -> None:
    """Their namespace refuses one; tests/contracts posts the pod that KubeSpawner makes to an API server."""
    assert values(site())["singleuser"]["cloudMetadata"] == {"blockWithIptables": False}


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
