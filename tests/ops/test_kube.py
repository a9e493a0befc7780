"""What the small client makes of the API's answers."""

import httpx
import pytest

from ops import kube


def test_an_api_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just started answers 429 for each kind that it has not read yet."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    answers = iter([httpx.Response(429), httpx.Response(429), httpx.Response(200, json={"items": [{"kind": "Node"}]})])
    client = object.__new__(kube.Kube)
    client._http = httpx.Client(base_url="https://api", transport=httpx.MockTransport(lambda _asked: next(answers)))

    assert client.items("/api/v1/nodes") == [{"kind": "Node"}]
