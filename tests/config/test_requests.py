"""What the platform's pods are said to request is what the real charts make them request."""

import re
from typing import Any

from config.allocatable import Amount, total
from config.requests import DAEMONS, DEPLOYED, K3S
from lab.charts.facts import get_pod, load_facts
from tests.support.quantities import parse_cpu

Object = dict[str, Any]
_MIB = {"Mi": 1, "Gi": 1024}


def parse_memory(text: str) -> int:
    """`512Mi` or `4Gi` in MiB."""
    found = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    assert found, text
    return int(found[1]) * _MIB[found[2]]


def container_request(container: Object) -> Amount:
    asked = container.get("resources", {}).get("requests", {})
    return Amount(parse_cpu(str(asked.get("cpu", "0"))), parse_memory(str(asked.get("memory", "0Mi"))))


def pod_request(pod: Object) -> Amount:
    """As the scheduler counts: all containers together, or the largest init container."""
    running = total(map(container_request, pod["containers"]))
    first = [container_request(one) for one in pod.get("initContainers", [])]
    return Amount(
        max([running.cpu, *(one.cpu for one in first)]), max([running.memory, *(one.memory for one in first)])
    )


def of_the_charts() -> dict[tuple[str, str], tuple[str, Amount]]:
    """Chart and name of each workload that requests something -> its kind and what a pod of it requests."""
    found = {}
    for chart, facts in load_facts().items():
        for item in facts.of_kind("DaemonSet", "Deployment", "StatefulSet"):
            pod = get_pod(item)
            if pod and (request := pod_request(pod)) != Amount(0, 0):
                found[chart, item["metadata"]["name"]] = (item["kind"], request)
    return found


def test_every_request_of_a_chart_is_counted() -> None:
    """A chart's update that asks for more must reach profiles and quotas."""
    daemons = {(one.chart, one.name): ("DaemonSet", one.request) for one in DAEMONS}
    deployed = {(one.chart, one.name): ("Deployment", one.request) for one in DEPLOYED if one.chart != K3S}

    assert daemons | deployed == of_the_charts()


def test_replicas_are_those_of_the_charts() -> None:
    replicas = {
        (facts.chart, item["metadata"]["name"]): item["spec"].get("replicas", 1)
        for facts in load_facts().values()
        for item in facts.of_kind("Deployment", "StatefulSet")
    }

    assert {(one.chart, one.name): one.replicas for one in DEPLOYED if one.chart != K3S} == {
        at: count for at, count in replicas.items() if at in of_the_charts()
    }
