"""The runner goes on whatever happens to the API server, its kubeconfig, or one of the stand-ins."""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from lab.controllers import runner
from lab.controllers.changes import Change, Patch, PostEvent, ensure_fields
from lab.controllers.kinds import KINDS
from lab.controllers.snapshot_cache import ClusterCache
from lab.kubernetes import KubeClient
from tests.lab.controllers.objects import thing

NODE = thing("Node", "n", metadata={"resourceVersion": "1"}, spec={})


class Api:
    """An API server with one node; it answers lists, ends every watch at once, and keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, str, Any]] = []
        self.refuse: set[str] = set()

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.params.get("watch"):
            return httpx.Response(200, content=b"")
        if request.method == "GET":
            items = [NODE] if request.url.path == KINDS["Node"].path() else []
            return httpx.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": items})
        self.writes.append((request.method, request.url.path, json.loads(request.content)))
        if request.url.path in self.refuse:
            return httpx.Response(422, text="not so")
        return httpx.Response(200, json=NODE if request.method == "PATCH" else {})


def connect() -> KubeClient:
    return KubeClient("https://api.test", ssl.create_default_context())


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()
    original = httpx.AsyncClient

    def connected(**arguments: Any) -> httpx.AsyncClient:
        return original(base_url=arguments["base_url"], transport=httpx.MockTransport(api.answer))

    monkeypatch.setattr(KubeClient, "from_kubeconfig", lambda _text: connect())
    monkeypatch.setattr(httpx, "AsyncClient", connected)
    for name in ("SETTLE_SECONDS", "TICK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(runner, name, 0.01)
    return api


def work(
    condition: Callable[[], bool], *stand_ins: runner.Decide, kubeconfig: Callable[[], str | None] = lambda: "x"
) -> None:
    async def main() -> None:
        task = asyncio.create_task(runner.run_stand_ins(stand_ins, kubeconfig))
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  # the condition is any
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def label(cache: ClusterCache) -> Iterator[Change]:
    for node in cache.all("Node"):
        yield from ensure_fields(node, {"metadata": {"labels": {"a": "b"}}})


def test_what_is_decided_is_written(api: Api) -> None:
    work(lambda: bool(api.writes), label)
    assert api.writes[0] == ("PATCH", "/api/v1/nodes/n", {"metadata": {"labels": {"a": "b"}}})


def test_a_failing_stand_in_does_not_stop_the_others(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def broken(cache: ClusterCache) -> Iterator[Change]:
        raise KeyError("spec")

    work(lambda: bool(api.writes), broken, label)
    assert "failed" in caplog.text


def test_a_refused_change_is_said_once_and_does_not_stop_the_next(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.refuse.add("/api/v1/nodes/other")

    def two(cache: ClusterCache) -> Iterator[Change]:
        yield Patch("Node", "", "other", {"spec": {}})
        yield from label(cache)

    work(lambda: sum(path == "/api/v1/nodes/n" for _, path, _ in api.writes) > 2, two)
    assert caplog.text.count("refused: not so") == 1


def test_the_same_note_is_sent_once(api: Api) -> None:
    decided = []

    def tell(cache: ClusterCache) -> Iterator[Change]:
        decided.append(cache.now)
        yield PostEvent(NODE, "Because", "of this")

    work(lambda: len(decided) > 3, tell)
    assert [path for _, path, _ in api.writes] == ["/api/v1/namespaces/default/events"]
    assert isinstance(next(tell(ClusterCache())), PostEvent)


def test_it_waits_for_a_cluster_and_survives_a_broken_kubeconfig(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, None, "half of it"])

    def from_kubeconfig(text: str) -> KubeClient:
        if text != "good":
            raise ValueError(text)
        return connect()

    monkeypatch.setattr(KubeClient, "from_kubeconfig", from_kubeconfig)
    work(lambda: bool(api.writes), label, kubeconfig=lambda: next(answers, "good"))
