"""A person on the campus, in a real browser: hub, proxy, notebook and the way to them really run. Told in order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.images import ensure_all
from tests.support.browser import Person, open_door
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.strict]  # it builds every program of the lab where they are not there yet

SHOTS = Path(__file__).parents[3] / ".lyceum" / "screenshots"
SLICE = "a100-40gb-1g-5gb-pytorch"


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The alpha cluster, whose GPU workers run real pods."""
    ensure_all()
    with Project(tmp_path_factory.mktemp("campus") / "lyceum", real_nodes="gpu-1,gpu-2") as project:
        project.lyceum("up", "dev", "--yes")
        yield project


@pytest.fixture(scope="module")
def door(campus: Project) -> Iterator[int]:
    with open_door(campus) as port:
        yield port


@pytest.fixture(scope="module")
def researcher(campus: Project, door: int) -> Iterator[Person]:
    """Somebody in a group with GPUs, logged in."""
    with Person(campus, door, "researcher", SHOTS) as person:
        person.log_in()
        yield person


def notebook(campus: Project, name: str) -> dict[str, Any]:
    """The pod of a person's notebook."""
    pods = campus.objects("pods", "--namespace", "jupyterhub", "--selector", "component=singleuser-server")
    found: dict[str, Any]
    [found] = [pod for pod in pods if pod["metadata"]["annotations"]["hub.jupyter.org/username"] == name]
    return found


def test_the_hub_and_its_proxy_really_run(campus: Project) -> None:
    pods = campus.objects("pods", "--namespace", "jupyterhub", "--selector", "component in (hub, proxy)")

    assert {pod["metadata"]["labels"]["component"]: pod["metadata"]["labels"]["lab.lyceum/pod"] for pod in pods} == {
        "hub": "real",
        "proxy": "real",
    }


def test_the_certificate_of_the_page_is_cert_managers(campus: Project, researcher: Person) -> None:
    """The browser has accepted it already; the CA that it trusts for pages is cert-manager's."""
    [certificate] = campus.objects("certificates", "--namespace", "jupyterhub")

    assert certificate["spec"]["issuerRef"]["name"] == "campus"
    assert {one["type"]: one["status"] for one in certificate["status"]["conditions"]}["Ready"] == "True"


def test_a_researcher_is_offered_profiles_with_gpus(researcher: Person) -> None:
    offered = researcher.offered_profiles()

    assert "cpu" in offered
    assert SLICE in offered


def test_a_cell_runs_on_a_mig_slice_as_user_1000(campus: Project, researcher: Person) -> None:
    researcher.start_notebook(SLICE)
    said = researcher.run_cell("import os; print('uid', os.getuid(), 6 * 7)", "uid 1000 42")

    assert said.endswith("uid 1000 42")
    pod = notebook(campus, "researcher")
    [container] = [one for one in pod["spec"]["containers"] if one["name"] == "notebook"]
    assert container["resources"]["limits"]["nvidia.com/mig-1g.5gb"] == "1"


def test_the_notebook_passed_the_queue(campus: Project, researcher: Person) -> None:
    [workload] = campus.objects("workloads", "--namespace", "jupyterhub")

    assert workload["spec"]["queueName"] == "notebooks"
    assert workload["metadata"]["ownerReferences"][0]["name"] == notebook(campus, "researcher")["metadata"]["name"]
    assert {one["type"]: one["status"] for one in workload["status"]["conditions"]}["Admitted"] == "True"


def test_a_student_is_not_offered_what_his_groups_may_not_start(campus: Project, door: int) -> None:
    with Person(campus, door, "student", SHOTS) as student:
        student.log_in()
        assert student.offered_profiles() == ["cpu"]


def test_a_hidden_profile_is_refused_and_the_hub_goes_on(campus: Project, door: int) -> None:
    """P1, P2: five such requests ended the hub for everybody."""
    with Person(campus, door, "student", SHOTS) as student:
        student.log_in()
        answers = [student.ask_for_server(SLICE) for _ in range(6)]

        assert answers == [403] * 6
        assert student.offered_profiles() == ["cpu"], "the hub answers"


def test_a_guest_without_groups_is_not_admitted(campus: Project, door: int) -> None:
    with Person(campus, door, "guest", SHOTS) as guest:
        guest.log_in()
        guest.shoot("refused")
        assert "403" in guest.page.content()


def test_a_log_out_ends_the_session_at_the_provider_too(researcher: Person) -> None:
    researcher.log_out()
    researcher.page.goto("https://jupyter.lab.lyceum.internal/user/researcher/lab")
    researcher.shoot("notebook-after-log-out")

    assert "/hub/login" in researcher.page.url or "login." in researcher.page.url, json.dumps(researcher.page.url)
