"""The simulated Proxmox of a site behind a synchronous client, in this process and without a network."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from config.site import Site
from lab.contracts import LabSpec
from lab.proxmox import Proxmox, create_app
from lab.proxmox.errors import ApiError
from lab.proxmox.fake import FakeHypervisor
from lab.proxmox.fetch import FetchedFile, Fetcher
from lab.proxmox.tasks import Timing
from lab.spec import spec_from_site
from ops.clients.proxmox import ProxmoxApi

URL = "https://10.21.0.11:8006/"


class _Fetcher(Fetcher):
    """Has the site's image, of one GiB, unless it is told not to."""

    size = 1024**3

    async def metadata(self, url: str, *, verify: bool) -> FetchedFile:
        if not self.size:
            raise ApiError(500, "invalid server response: '404 Not Found'")
        return FetchedFile(self.size, "application/octet-stream")

    async def download(self, url: str, *, verify: bool, algorithm: str | None) -> FetchedFile:
        return await self.metadata(url, verify=verify)


class _Wire(httpx.BaseTransport):
    def __init__(self, app: Proxmox, loop: asyncio.AbstractEventLoop) -> None:
        self._asgi, self._loop = httpx.ASGITransport(app), loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answer() -> httpx.Response:
            content = request.read()
            copy = httpx.Request(request.method, request.url, headers=request.headers, content=content)
            found = await self._asgi.handle_async_request(copy)
            return httpx.Response(found.status_code, headers=found.headers, content=await found.aread())

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(timeout=120)


class Simulated:
    """A Proxmox and what can be done to it."""

    def __init__(self, app: Proxmox, loop: asyncio.AbstractEventLoop, run: Path, fetcher: _Fetcher) -> None:
        self.app, self._loop, self.run, self.fetcher = app, loop, run, fetcher

    @property
    def token(self) -> str:
        return (self.run / "proxmox-token").read_text()

    def api(self, token: str | None = None) -> ProxmoxApi:
        """A client with Lyceum's token, or with another."""
        return ProxmoxApi(URL, None, token or self.token, transport=_Wire(self.app, self._loop))

    def root(self) -> ProxmoxApi:
        """A client of the administrator."""
        api = ProxmoxApi(URL, None, transport=_Wire(self.app, self._loop))
        api.sign_in("root@pam", self.app.root_password)
        return api

    def do(self, method: str, path: str, **params: Any) -> Any:
        """Something that the administrator does."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(self.app.call(method, path, params), self._loop)
        return future.result(timeout=120)


@contextmanager
def simulated(site: Site, run: Path, **changes: Any) -> Iterator[Simulated]:
    """The Proxmox of a site; `changes` are fields of its `LabSpec`."""
    spec: LabSpec = replace(spec_from_site(site, "test"), **changes)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    fetcher = _Fetcher(run)
    app = create_app(spec, FakeHypervisor(), run, timing=Timing(linger=0), fetcher=fetcher)
    try:
        asyncio.run_coroutine_threadsafe(app.open(), loop).result(timeout=120)
        yield Simulated(app, loop, run, fetcher)
        asyncio.run_coroutine_threadsafe(app.close(), loop).result(timeout=120)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=120)
        loop.close()
