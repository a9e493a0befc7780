"""What the small client makes of the API's answers."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from ops.clients import kubernetes
from ops.engine.engine import Engine


def asked(answers: Iterator[httpx.Response]) -> kubernetes.Kube:
    client = object.__new__(kubernetes.Kube)
    client._http = httpx.Client(base_url="https://api", transport=httpx.MockTransport(lambda _asked: next(answers)))
    return client


def test_an_api_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just started answers 429 for each kind that it has not read yet."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    answers = iter([httpx.Response(429), httpx.Response(429), httpx.Response(200, json={"items": [{"kind": "Node"}]})])
    client = asked(answers)

    assert client.items("/api/v1/nodes") == [{"kind": "Node"}]


@pytest.mark.parametrize(("seconds", "found"), [(0, False), (kubernetes.MOVE_SECONDS, True)])
def test_an_api_that_moves_to_another_server_is_waited_for_by_those_who_need_it(
    monkeypatch: pytest.MonkeyPatch, seconds: float, found: bool
) -> None:
    """A command that took it for gone would change nodes without asking them, or refuse for nothing."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    engine = cast("Engine", SimpleNamespace(kubeconfig=lambda: "a kubeconfig"))
    client = asked(iter([httpx.Response(503), httpx.Response(200)]))
    monkeypatch.setattr(kubernetes.Kube, "__new__", lambda _class, _kubeconfig: client)
    monkeypatch.setattr(kubernetes.Kube, "__init__", lambda *_: None)

    assert (kubernetes.Kube.connect(engine, seconds) is client) is found
