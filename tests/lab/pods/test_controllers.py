"""The real controllers as pods of a campus: what they decide, and what their webhooks refuse. Told in order."""

import base64
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from config.load import load_site
from lab.images.build import Built
from tests.lab.life import canary
from tests.lab.life.canary import wait_until
from tests.lab.life.conftest import change_site
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.strict]

Object = dict[str, Any]

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
        "metadata": {"name": "refused", "namespace": "default"},
        "spec": {"runtimeRef": {"name": "no-such-runtime"}},
    },
}
"""Webhook -> an object that it refuses: a queue that lends outside a cohort, an issuer of two types, a pool of addresses
that another has, a training of an unknown runtime."""


@pytest.fixture(scope="module")
def campus(real_programs: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A campus with every layer, and real pods on its first two workers."""
    with Project(tmp_path_factory.mktemp("campus") / "lyceum", real_nodes="gpu-1,gpu-2") as project:
        project.lyceum("up", "dev", "--yes")
        yield project


@pytest.mark.parametrize("webhook", REFUSED)
def test_a_controllers_webhook_refuses_what_is_wrong(campus: Project, webhook: str) -> None:
    with pytest.raises(AssertionError, match=f"{re.escape(webhook)}.*denied the request"):
        canary.apply(campus, REFUSED[webhook])


def test_a_job_beyond_the_quota_waits_until_the_first_has_ended(campus: Project) -> None:
    quota = campus.object("clusterqueue", "campus")["spec"]["resourceGroups"][0]["flavors"]
    amounts = [
        int(float(one["nominalQuota"].removesuffix("m")) / (1000 if one["nominalQuota"].endswith("m") else 1))
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


def test_kueue_names_what_it_runs_and_ends_it_when_asked(campus: Project) -> None:
    """The last: afterwards the campus has no queue."""
    canary.apply(campus, job("runs", 1, "sleep 1000"))
    campus.kubectl("wait", "--for=condition=Ready", "pod", "--selector=job-name=runs", "--timeout=120s")
    change_site(campus, {"platform": {"queues": {"enabled": False}}})

    assert "default/job/runs" in campus.lyceum("up", "dev", "--yes", code=3)
    text = campus.lyceum("up", "dev", "--yes", "--force", "jobs")
    assert "nothing starts them again: default/job/runs" in text
    assert "kueue-system" not in {one["metadata"]["name"] for one in campus.objects("namespaces")}
