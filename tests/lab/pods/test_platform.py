"""The whole platform with its real programs, on one campus. Told in order.

What controllers decide, what webhooks refuse, what Prometheus answers, and a person in a real browser. Where LYCEUM_CHARTS
names a directory of real chart archives (docs/charts.md), the campus is installed from those.
"""

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.platform import alerts as rules
from components.platform.dashboards import BOARDS
from config.load import load_site
from lab.images.build import Built
from tests.lab.life import canary
from tests.lab.life.canary import wait_until
from tests.lab.life.conftest import change_site
from tests.support.browser import Door, Person, open_door
from tests.support.monitoring import alerts, ask_prometheus, query
from tests.support.project import Project
from tests.support.quantities import parse_cpu

pytestmark = pytest.mark.lab

Object = dict[str, Any]

SHOTS = Path(__file__).parents[3] / ".lyceum" / "screenshots"
SLICE = "a100-40gb-1g-5gb-pytorch"

SIMULATED = {
    "CPU used": "node-exporter stands in",
    "Memory used": "node-exporter stands in",
    "Disk used": "node-exporter stands in",
}
"""Panels that have no data in the lab, and why."""
WATCHED = {"apiserver", "hub", "kube-etcd", "kubelet", "kube-state-metrics", "nvidia-dcgm-exporter"}
"""Jobs with an address that answers."""
QUEUED = {"kueue.x-k8s.io/queue-name": "campus"}
USER = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def job(name: str, cpu: int, script: str) -> Object:
    """A Job of the queue `campus` in `default`."""
    container = {
        "name": "main",
        "image": "docker.io/library/busybox:1.36",
        "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": str(cpu)}},
        "securityContext": LOCKED,
    }
    pod = {"restartPolicy": "Never", "securityContext": USER, "containers": [container]}
    metadata = {"name": name, "namespace": "default", "labels": QUEUED}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}


REFUSED = {
    "vclusterqueue.kb.io": {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "ClusterQueue",
        "metadata": {"name": "refused"},
        "spec": {
            "resourceGroups": [
                {
                    "coveredResources": ["cpu"],
                    "flavors": [
                        {"name": "cpu", "resources": [{"name": "cpu", "nominalQuota": "1", "lendingLimit": "1"}]}
                    ],
                }
            ]
        },
    },
    "webhook.cert-manager.io": {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "refused"},
        "spec": {"selfSigned": {}, "ca": {"secretName": "other"}},
    },
    "ipaddresspoolvalidationwebhook.metallb.io": {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "refused", "namespace": "metallb-system"},
        "spec": {"addresses": ["10.21.0.50/32"]},
    },
    "validator.trainjob.trainer.kubeflow.org": {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "refused", "namespace": "kubeflow-system"},
        "spec": {"runtimeRef": {"name": "no-such-runtime"}},
    },
}
"""Webhook -> an object that it refuses: a queue that lends outside a cohort, an issuer of two types, a pool of addresses
that another has, a training of an unknown runtime (where Kueue, which knows that too, does not look)."""


@pytest.fixture(scope="module")
def campus(real_programs: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A campus with every layer, and real pods on the site's GPU workers."""
    path, charts = tmp_path_factory.mktemp("campus") / "lyceum", os.environ.get("LYCEUM_CHARTS")
    with Project(path, real_nodes="gpu-1,gpu-2", charts=charts) as project:
        project.lyceum("up", "dev", "--yes")
        yield project


@pytest.fixture(scope="module")
def door(campus: Project) -> Iterator[Door]:
    with open_door(campus) as door:
        yield door


@pytest.fixture(scope="module")
def researcher(campus: Project, door: Door) -> Iterator[Person]:
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


@pytest.mark.parametrize("webhook", REFUSED)
def test_a_controllers_webhook_refuses_what_is_wrong(campus: Project, webhook: str) -> None:
    with pytest.raises(AssertionError, match=f"{re.escape(webhook)}.*denied the request"):
        canary.apply(campus, REFUSED[webhook])


def test_jobset_refuses_to_wait_for_a_job_that_the_set_has_not(campus: Project) -> None:
    """Told by its words, because Kueue's webhook for sets of jobs has the same name."""
    policy = {"operator": "All", "targetReplicatedJobs": ["other"]}
    jobs = [{"name": "main", "template": {"spec": job("main", 1, "true")["spec"]}}]
    refused = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "refused", "namespace": "default"},
        "spec": {"successPolicy": policy, "replicatedJobs": jobs},
    }

    with pytest.raises(AssertionError, match="invalid replicatedJob name 'other'"):
        canary.apply(campus, refused)


def test_a_name_outside_is_never_looked_up_in_the_campuss_domain(campus: Project) -> None:
    """K3.14: with a wildcard record there, every name would be the campus's own."""
    canary.apply(campus, job("resolver", 1, "cat /etc/resolv.conf"))
    campus.kubectl("wait", "--for=condition=Complete", "job/resolver", "--timeout=120s")
    lines = campus.kubectl("logs", "job/resolver").splitlines()

    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in lines


def test_a_job_beyond_the_quota_waits_until_the_first_has_ended(campus: Project) -> None:
    quota = campus.object("clusterqueue", "campus")["spec"]["resourceGroups"][0]["flavors"]
    amounts = [
        parse_cpu(one["nominalQuota"]) // 1000
        for flavor in quota
        for one in flavor["resources"]
        if one["name"] == "cpu"
    ]
    canary.apply(campus, *(job(name, max(amounts) // 2 + 1, "sleep 2") for name in ("first", "second", "third")))

    def admitted() -> set[str]:
        workloads = campus.objects("workloads", "--namespace", "default")
        return {one["metadata"]["ownerReferences"][0]["name"] for one in workloads if "admission" in one["status"]}

    wait_until(lambda: "first" in admitted(), "the first Job's admission", 60)
    for name in ("first", "second", "third"):
        campus.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=180s")


def test_two_pods_of_a_training_talk_to_each_other(campus: Project) -> None:
    trainer = {"numNodes": 2, "command": ["torchrun", "/opt/venv/bin/sum_ranks"]}
    canary.apply(
        campus,
        {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": {"name": "sum", "namespace": "default", "labels": QUEUED},
            "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer},
        },
    )
    campus.kubectl("wait", "--for=condition=Complete", "trainjob/sum", "--timeout=240s")
    logs = campus.kubectl("logs", "--selector=jobset.sigs.k8s.io/jobset-name=sum", "--tail=-1")
    assert {"rank 0 of 2", "rank 1 of 2"} <= {line.partition(" on ")[0] for line in logs.splitlines()}
    assert "sum 3" in logs


def test_the_ingress_answers_at_the_address_of_the_pool_with_a_certificate_of_the_campus(campus: Project) -> None:
    """MetalLB's speaker answers ARP, Traefik routes, cert-manager has signed."""
    [secret] = campus.objects("secrets", "--namespace=cert-manager", "--field-selector=metadata.name=campus-ca")
    authority = campus.run / "issuer.pem"
    authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    host = f"jupyter.{load_site('lab').domain}"
    ask = ["curl", "--silent", "--max-time", "5", "--cacert", str(authority), "--resolve", f"{host}:443:10.21.0.50"]
    ask += ["--output", "/dev/null", f"https://{host}/hub/health"]

    # Whatever the page says: a certificate that does not verify, and an address that does not answer, are errors of curl.
    wait_until(
        lambda: subprocess.run([*campus.inside(), *ask], check=False).returncode == 0, f"https://{host} is trusted", 120
    )


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


def test_a_student_is_not_offered_what_his_groups_may_not_start(campus: Project, door: Door) -> None:
    with Person(campus, door, "student", SHOTS) as student:
        student.log_in()
        assert student.offered_profiles() == ["cpu"]


def test_a_hidden_profile_is_refused_and_the_hub_goes_on(campus: Project, door: Door) -> None:
    """P1, P2: five such requests ended the hub for everybody."""
    with Person(campus, door, "student", SHOTS) as student:
        student.log_in()
        answers = [student.ask_for_server(SLICE) for _ in range(6)]

        assert answers == [403] * 6
        assert student.offered_profiles() == ["cpu"], "the hub answers"


def test_a_guest_without_groups_is_not_admitted(campus: Project, door: Door) -> None:
    with Person(campus, door, "guest", SHOTS) as guest:
        guest.log_in()
        guest.shoot("refused")
        assert "403" in guest.page.content()


def test_prometheus_reads_what_the_monitors_name(campus: Project) -> None:
    """Up to three minutes after the last monitor: so often the operator's reloader looks, beside what inotify tells it."""

    def reads() -> bool:
        return {one["metric"]["job"] for one in query(campus, "up == 1")} >= WATCHED

    wait_until(reads, f"Prometheus reads {WATCHED}", 300)


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_has_data(campus: Project, board: str) -> None:
    wanted = {panel.title: panel.query for panel in BOARDS[board] if panel.title not in SIMULATED}

    for title, asked in wanted.items():
        wait_until(lambda asked=asked: query(campus, asked) != [], f"data in the panel `{title}`", 120)


def test_every_rule_is_evaluated_without_an_error(campus: Project) -> None:
    groups = ask_prometheus(campus, "rules")["groups"]
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    assert health.keys() >= {alert.name for alert in rules.ALERTS}
    assert {name for name, state in health.items() if state not in ("ok", "unknown")} == set()


def test_an_alert_reaches_alertmanager(campus: Project) -> None:
    wait_until(lambda: "Watchdog" in alerts(campus), "the alert that always fires", 120)


def test_the_operator_refuses_a_rule_that_cannot_be_evaluated(campus: Project) -> None:
    broken = {"alert": "Broken", "expr": "sum(up"}
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "broken", "namespace": "monitoring"},
        "spec": {"groups": [{"name": "broken", "rules": [broken]}]},
    }

    with pytest.raises(AssertionError, match="could not parse expression"):
        canary.apply(campus, rule)


def test_a_log_out_ends_the_session_at_the_provider_too(researcher: Person) -> None:
    researcher.log_out()
    researcher.page.goto("https://jupyter.lab.lyceum.internal/user/researcher/lab")
    researcher.shoot("notebook-after-log-out")

    assert "/hub/login" in researcher.page.url or "login." in researcher.page.url


def test_kueue_names_what_it_runs_and_ends_it_when_asked(campus: Project) -> None:
    """The last: afterwards the campus has no queue."""
    canary.apply(campus, job("runs", 1, "sleep 1000"))
    campus.kubectl("wait", "--for=condition=Ready", "pod", "--selector=job-name=runs", "--timeout=120s")
    change_site(campus, {"platform": {"queues": {"enabled": False}}})

    assert "default/job/runs" in campus.lyceum("up", "dev", "--yes", code=3)
    text = campus.lyceum("up", "dev", "--yes", "--force", "jobs")
    assert "nothing starts them again: default/job/runs" in text
    assert "kueue-system" not in {one["metadata"]["name"] for one in campus.objects("namespaces")}
