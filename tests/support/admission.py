"""What a real API server thinks of a pod: the Pod Security level at which it is admitted."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_args

import httpx

from lab.pod_security import Level
from tests.support.controlplane import ControlPlane

Object = dict[str, Any]

LEVELS: tuple[Level, ...] = get_args(Level)
"""The strictest first."""


class PodSecurity:
    """An API server with one namespace a level."""

    def __init__(self, server: ControlPlane) -> None:
        self._server = server
        for level in LEVELS:
            labels = {"pod-security.kubernetes.io/enforce": level}
            server.create(
                "/api/v1/namespaces",
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": level, "labels": labels}},
            )
        for level in LEVELS:
            account = f"/api/v1/namespaces/{level}/serviceaccounts/default"
            server.eventually("a service account", partial(server.get, account))

    def refusal(self, pod: Object, level: str) -> str:
        """Why a namespace of a level does not admit a pod; empty when it does. Nothing is stored."""
        # Both name objects of the real namespace, which Pod Security does not ask for.
        spec = {key: value for key, value in pod.items() if key not in {"serviceAccountName", "priorityClassName"}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"}, "spec": spec}
        answer = self._server.http.post(f"/api/v1/namespaces/{level}/pods?dryRun=All", json=body)
        if answer.status_code == httpx.codes.FORBIDDEN:
            return str(answer.json()["message"])
        assert answer.is_success, answer.text
        return ""

    def strictest(self, pod: Object) -> Level:
        """The strictest level at which a pod is admitted."""
        return next(level for level in LEVELS if not self.refusal(pod, level))


@contextmanager
def pod_security(directory: Path) -> Iterator[PodSecurity]:
    """Starts the API server."""
    with ControlPlane(directory, pods=False) as server:
        yield PodSecurity(server)
