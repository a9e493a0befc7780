"""The cluster's API, with the administrator's certificate."""

import base64
import ssl
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import yaml

if TYPE_CHECKING:
    from ops.engine.engine import Engine

Object = dict[str, Any]
BUSY_SECONDS = 30
"""How long an API may answer "too many requests" before that is an error."""
MOVE_SECONDS = 20.0
"""How long the API's address and etcd's leader may take to move to another server: kube-vip's lease is five seconds, and an
election may have to be held twice."""


class Kube:
    """A client of the Kubernetes API: JSON in, JSON out."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:  # the ssl module reads certificates from files only
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            context.load_cert_chain(file.name)
        self._http = httpx.Client(base_url=cluster["server"], verify=context, timeout=30)

    @classmethod
    def connect(cls, engine: "Engine", seconds: float = 0) -> Self | None:
        """The cluster of a stack, or None while it has none that answers within so many seconds."""
        kubeconfig = engine.kubeconfig()
        if not kubeconfig:
            return None
        kube, end = cls(kubeconfig), time.monotonic() + seconds
        while not kube.ready():
            if time.monotonic() >= end:
                return None
            time.sleep(1)
        return kube

    def ready(self) -> bool:
        """Whether the API answers."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _read(self, path: str, params: dict[str, str] | None = None) -> httpx.Response:
        """Repeats the request while the API answers "too many requests", as a new one does for each kind of object."""
        end = time.monotonic() + BUSY_SECONDS
        while True:
            answer = self._http.get(path, params=params)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or time.monotonic() > end:
                return answer
            time.sleep(1)

    def get(self, path: str, **parameters: str) -> Object:
        """One object or list."""
        answer = self._read(path, params=parameters)
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def find(self, path: str) -> Object | None:
        """One object, or None where it is not there."""
        answer = self._read(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def text(self, path: str) -> str:
        """The answer of a path, as text."""
        answer = self._read(path)
        answer.raise_for_status()
        return answer.text

    def items(self, path: str, **parameters: str) -> list[Object]:
        """The objects of a list; empty where the kind does not exist."""
        answer = self._read(path, params=parameters)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        answer.raise_for_status()
        found: list[Object] = answer.json()["items"]
        return found

    def delete(self, path: str) -> bool:
        """Deletes an object; False where it was not there."""
        answer = self._http.delete(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        answer.raise_for_status()
        return True

    def patch(self, path: str, change: Object) -> Object:
        """Merges a change into an object."""
        answer = self._http.patch(path, json=change, headers={"Content-Type": "application/merge-patch+json"})
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def post(self, path: str, body: Object) -> httpx.Response:
        """Creates an object; the caller checks the answer."""
        return self._http.post(path, json=body)
