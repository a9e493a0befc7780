"""The pod that KubeSpawner really makes from a site's values, offered to a real API server in the hub's namespace."""

import asyncio
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient
from traitlets.config import Config

from components.workspaces import jupyterhub
from components.workspaces.hub.lyceum_hub import CampusSpawner
from config.layers import record_of
from config.validate import load_site
from lab.charts.stand_in import load_catalog
from tests.contracts.hub_configuration import ENVIRONMENT, SECRETS, overlay
from tests.support.controlplane import ControlPlane
from tests.support.program import ALL_SITES
from tests.support.spawner import make_spawner

pytestmark = pytest.mark.lab

READING = Path(jupyterhub.__file__).parents[2] / "lab/charts/files/jupyterhub/jupyterhub_config.py"
NAMESPACE = "jupyterhub"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the hub's namespace, at the level of its record."""
    level = record_of("jupyterhub").namespaces[0].level.value
    labels = {"pod-security.kubernetes.io/enforce": level}
    with ControlPlane(tmp_path_factory.mktemp("notebook"), pods=False) as plane:
        metadata = {"name": NAMESPACE, "labels": labels}
        plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield plane


def hub_configuration(site: str, changes: dict[str, Any]) -> Config:
    """The configuration of the site's hub."""
    found = load_site(site)
    secrets = {"hub-password": "x", "oidc-client-secret": "x"}
    own = jupyterhub.values(found, found.machines, secrets, {})
    own["hub"].pop("extraConfig")  # its import is the module that is tested here
    [entry] = [entry for entry in load_catalog() if entry.name == "jupyterhub"]
    c = Config()
    values = overlay(overlay(entry.values, own), changes)
    runpy.run_path(str(READING))["read_values"](c, values, SECRETS, ENVIRONMENT)
    c.CampusSpawner.profiles = own["custom"]["lyceum"]["profiles"]
    c.KubeSpawner.profile_list = CampusSpawner.permitted_profiles
    return c


def notebook_pods(site: str, changes: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The pod of every profile of a site, for an owner who may start them all."""
    c = hub_configuration(site, changes or {})
    return {profile["slug"]: asyncio.run(_make_pod(c, profile)) for profile in c.CampusSpawner.profiles}


async def _make_pod(c: Config, profile: dict[str, Any]) -> dict[str, Any]:
    spawner = make_spawner(c, tuple(profile["groups"]), {"profile": profile["slug"]})
    spawner.api_token, spawner.oauth_client_allowed_scopes = "t", []
    await spawner.load_user_options()
    manifest = await spawner.get_pod_manifest()
    async with ApiClient() as client:
        pod: dict[str, Any] = client.sanitize_for_serialization(manifest)
    return pod


def offer(server: ControlPlane, pod: dict[str, Any]) -> tuple[int, str]:
    """What the server answers to the pod; nothing is stored."""
    found = server.http.post(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", json=pod)
    return found.status_code, found.json().get("message", "")


@pytest.mark.parametrize("site", ALL_SITES)
def test_every_profile_of_a_site_is_admitted(server: ControlPlane, site: str) -> None:
    """K1.1: the level refused every notebook, and a test of our own asserted exactly the refused values."""
    answers = {name: offer(server, pod) for name, pod in notebook_pods(site).items()}

    assert answers
    assert {name: answer for name, answer in answers.items() if answer[0] != 201} == {}


def test_the_home_is_writable_and_the_notebook_runs_as_its_images_user() -> None:
    """K1.2: `extraPodConfig.securityContext` replaced KubeSpawner's own, and fsGroup was gone."""
    pod = notebook_pods("lab")["cpu"]
    [container] = pod["spec"]["containers"]

    assert pod["spec"]["securityContext"]["fsGroup"] == 100
    assert (container["securityContext"]["runAsUser"], container["securityContext"]["runAsGroup"]) == (1000, 100)


def test_a_notebook_with_a_gpu_names_its_queue_and_keeps_the_charts_labels() -> None:
    [labels] = [
        pod["metadata"]["labels"] for name, pod in notebook_pods("lab").items() if name.endswith("1g-5gb-pytorch")
    ]

    assert labels["kueue.x-k8s.io/queue-name"] == "notebooks"
    assert labels["hub.jupyter.org/network-access-hub"] == "true"
    assert labels["component"] == "singleuser-server", "the network policy of notebooks selects by it"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"hub": {"config": {"KubeSpawner": {"container_security_context": {"capabilities": None}}}}}, "capabilities"),
        ({"singleuser": {"extraPodConfig": {"securityContext": {"fsGroup": 100}}}}, "runAsNonRoot"),
    ],
    ids=["no capabilities dropped", "a pod context of its own"],
)
def test_the_server_would_refuse_less(server: ControlPlane, changes: dict[str, Any], refused: str) -> None:
    code, message = offer(server, notebook_pods("lab", changes)["cpu"])

    assert (code, refused in message) == (403, True), message
