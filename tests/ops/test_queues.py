"""Kueue is switched off only when nothing runs from its queues."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.errors import OperationRefusedError
from ops import queues
from ops.clients.kubernetes import Kube
from ops.engine.engine import Engine
from ops.nodes.blockers import Override
from ops.queues import drain_queues, resume_queues, unfinished_workloads
from ops.wait import WaitTimeoutError
from tests.support.sites import site

Object = dict[str, Any]
OFF = {"platform": {"queues": {"enabled": False}}}


def workload(name: str, *conditions: str, kind: str = "Job") -> Object:
    owner = {"apiVersion": "v1" if kind == "Pod" else "batch/v1", "kind": kind, "name": name}
    metadata = {"name": f"job-{name}-1a2b3", "namespace": "default", "ownerReferences": [owner]}
    return {"metadata": metadata, "status": {"conditions": [{"type": one, "status": "True"} for one in conditions]}}


class FakeKueue:
    """Its API. A queue that is drained gives up its workloads, unless they hang.

    A workload has a finalizer, and comes again while its owner names a queue.
    """

    def __init__(self, *workloads: Object, hangs: bool = False) -> None:
        self.workloads = list(workloads)
        self.policy: list[str] = []
        self.unlabelled: list[str] = []
        self.hangs = hangs

    def items(self, path: str) -> list[Object]:
        return list(self.workloads) if path.endswith("/workloads") else [{"metadata": {"name": "campus"}}]

    def find(self, path: str) -> Object | None:
        there = "/workloads/" not in path or any(path.endswith(self._name(one)) for one in self.workloads)
        return {"metadata": {}} if there else None

    def delete(self, path: str) -> bool:
        return any(path.endswith(self._name(one)) for one in self.workloads)

    def patch(self, path: str, change: Object) -> Object:
        if "/workloads/" in path:
            assert change == {"metadata": {"finalizers": None}}
            self.workloads = [
                one
                for one in self.workloads
                if not path.endswith(self._name(one)) or self._owner(one) not in self.unlabelled
            ]
        elif "labels" in change.get("metadata", {}):
            assert change["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": None}
            self.unlabelled.append(path)
        else:
            assert path.endswith("/clusterqueues/campus")
            self.policy.append(change["spec"]["stopPolicy"])
            if self.policy[-1] == "HoldAndDrain" and not self.hangs:
                for one in self.workloads:
                    one["status"]["conditions"] = [c for c in one["status"]["conditions"] if c["type"] == "Finished"]
        return {}

    @staticmethod
    def _name(workload: Object) -> str:
        return f"/workloads/{workload['metadata']['name']}"

    @staticmethod
    def _owner(workload: Object) -> str:
        owner = workload["metadata"]["ownerReferences"][0]
        group = "/api/v1" if owner["apiVersion"] == "v1" else f"/apis/{owner['apiVersion']}"
        return f"{group}/namespaces/default/{owner['kind'].lower()}s/{owner['name']}"


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`drain_queues` on a site without Kueue whose cluster still has it."""

    def call(kueue: FakeKueue, *force: Override, changes: Object | None = None) -> Kube | None:
        monkeypatch.setattr(Kube, "connect", lambda _engine, _seconds: cast("Kube", kueue))
        monkeypatch.setattr(queues, "DRAIN_SECONDS", 0)
        engine = SimpleNamespace(stack=SimpleNamespace(site=site(OFF if changes is None else changes)))
        return drain_queues(cast("Engine", engine), force)

    return call


def test_what_runs_or_waits_is_named_as_people_know_it() -> None:
    found = unfinished_workloads(
        [
            workload("trains", "QuotaReserved", "Admitted"),
            workload("waits"),
            workload("done", "QuotaReserved", "Admitted", "Finished"),
            workload("jupyter-ada", "QuotaReserved", kind="Pod"),
        ]
    )

    assert found == ["default/job/trains", "default/job/waits", "default/pod/jupyter-ada"]


def test_running_work_is_named_and_nothing_is_changed(drain: Any) -> None:
    """The engine would wait for the queue's finalizer without a reason."""
    kueue = FakeKueue(workload("trains", "QuotaReserved"))

    with pytest.raises(
        OperationRefusedError, match=r"1 workload\(s\) that run or wait: default/job/trains.*--force jobs"
    ):
        drain(kueue)
    assert kueue.policy == []


def test_work_that_is_given_up_is_drained_before_the_queues_go(drain: Any) -> None:
    kueue = FakeKueue(workload("trains", "QuotaReserved"))

    assert drain(kueue, Override.JOBS) is kueue
    assert kueue.policy == ["HoldAndDrain"]


def test_work_that_waits_is_named_too(drain: Any) -> None:
    """Its finalizer keeps Kueue's kinds as well, and the engine would wait for them without a word."""
    with pytest.raises(OperationRefusedError, match="default/job/waits"):
        drain(FakeKueue(workload("waits")))


def test_nothing_of_kueue_is_left_on_work_that_is_given_up(drain: Any) -> None:
    kueue = FakeKueue(workload("trains", "QuotaReserved"), workload("jupyter-ada", "QuotaReserved", kind="Pod"))

    assert drain(kueue, Override.JOBS) is kueue
    assert kueue.workloads == []
    assert kueue.unlabelled == [
        "/apis/batch/v1/namespaces/default/jobs/trains",
        "/api/v1/namespaces/default/pods/jupyter-ada",
    ]


def test_an_idle_queue_is_stopped_too_so_that_nothing_starts_in_between(drain: Any) -> None:
    kueue = FakeKueue(workload("done", "QuotaReserved", "Finished"))

    assert drain(kueue) is kueue
    assert kueue.policy == ["HoldAndDrain"]


def test_work_that_does_not_end_is_named_after_a_bound(drain: Any) -> None:
    with pytest.raises(WaitTimeoutError, match="left: default/job/trains"):
        drain(FakeKueue(workload("trains", "QuotaReserved"), hangs=True), Override.JOBS)


def test_queues_that_stay_are_left_alone(drain: Any) -> None:
    kueue = FakeKueue(workload("trains", "QuotaReserved"))

    assert drain(kueue, changes={}) is None
    assert kueue.policy == []


def test_queues_admit_again_after_an_update_that_did_not_remove_them() -> None:
    kueue = FakeKueue()
    resume_queues(cast("Kube", kueue))

    assert kueue.policy == ["None"]
