"""A real JupyterHub with the configuration of the lab's site: who gets in, and what may be started, by every way."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.workspaces.hub.lyceum_hub import REFUSED
from config.layers import record_of
from config.validate import load_site
from lab.spec import login_spec
from tests.support.controlplane import ControlPlane
from tests.support.hub import Hub, Visitor

pytestmark = pytest.mark.lab

NAMESPACE = "jupyterhub"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SLICE = "a100-40gb-1g-5gb-pytorch"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the hub's namespace at its level."""
    labels = {"pod-security.kubernetes.io/enforce": record_of("jupyterhub").namespaces[0].level.value}
    with ControlPlane(tmp_path_factory.mktemp("cluster"), pods=False) as plane:
        metadata = {"name": NAMESPACE, "labels": labels}
        plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
        yield plane


@pytest.fixture(scope="module")
def hub(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub of the lab's site; its only profile without a GPU is the students'."""
    site = load_site("lab")
    login = login_spec(site)
    assert login is not None
    people = tuple(replace(one, groups=("researchers",)) if one.name == "researcher" else one for one in login.people)
    with Hub(tmp_path_factory.mktemp("hub") / "run", site, replace(login, people=people), cluster.kubeconfig) as found:
        yield found


@pytest.fixture(scope="module")
def student(hub: Hub) -> Visitor:
    return Visitor(hub, "student")


def notebooks(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Every pod of a notebook."""
    return list(cluster.get(PODS)["items"])


def test_a_person_of_the_directory_logs_in(student: Visitor) -> None:
    """K1.5: client, secret, addresses, scopes, claims and CA are right, or this ends at the provider."""
    found = student.get("api/user").json()

    assert (found["name"], found["groups"], found["admin"]) == ("student", ["students"], False)


def test_an_administrators_group_makes_one(hub: Hub) -> None:
    assert Visitor(hub, "admin").get("api/user").json()["admin"] is True


def test_who_is_in_no_admitted_group_does_not_get_in(hub: Hub) -> None:
    guest = Visitor(hub, "guest")

    assert guest.answer.status_code == 403
    assert guest.get("api/user").status_code == 403


def test_the_page_offers_what_ones_groups_may_start(hub: Hub, student: Visitor) -> None:
    page = student.get("spawn").text

    assert 'value="cpu"' in page
    assert SLICE not in page
    assert SLICE in Visitor(hub, "researcher").get("spawn").text


@pytest.mark.parametrize("options", [SLICE, [SLICE], 7], ids=["a name", "a list", "a number"])
def test_a_hidden_profile_is_refused_by_the_api(cluster: ControlPlane, student: Visitor, options: object) -> None:
    answer = student.start_by_api({"profile": options})

    assert (answer.status_code, answer.json()["message"]) == (403, REFUSED)
    assert notebooks(cluster) == []


def test_a_hidden_profile_is_refused_by_the_form(student: Visitor) -> None:
    answer = student.start_by_form(SLICE)

    assert answer.status_code == 403
    assert REFUSED in answer.text


def test_nobody_starts_a_server_for_another(student: Visitor) -> None:
    assert student.start_by_form("cpu", "researcher").status_code == 404


def test_ten_refusals_do_not_end_the_hub(hub: Hub, student: Visitor) -> None:
    """P1: each is a failed start, and the chart's hub ends itself after five, for everybody."""
    answers = {student.start_by_api({"profile": SLICE}).status_code for _ in range(10)}

    assert answers == {403}
    assert hub.is_healthy()


def test_a_permitted_profile_becomes_a_pod_of_the_restricted_namespace(cluster: ControlPlane, hub: Hub) -> None:
    assert Visitor(hub, "researcher").start_by_api({"profile": SLICE}).status_code == 202

    [pod] = cluster.eventually("the notebook's pod", lambda: notebooks(cluster))
    [container] = pod["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/mig-1g.5gb"] == "1"
    assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "notebooks"


def test_who_leaves_every_admitted_group_is_logged_out(hub: Hub) -> None:
    """P3: he stayed in, and could start the chart's sample image."""
    researcher = Visitor(hub, "researcher")
    assert researcher.get("api/user").status_code == 200

    hub.leave_group("researcher", "researchers")
    time.sleep(1.1)  # groups are asked for again after a second here

    assert researcher.get("api/user").status_code == 403


def test_while_the_provider_is_silent_people_stay_logged_in(hub: Hub, student: Visitor) -> None:
    """P7: every page of the hub failed."""
    hub.stop_provider()

    assert student.get("api/user").status_code == 200
