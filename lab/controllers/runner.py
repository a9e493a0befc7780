"""Keeps a snapshot of the cluster by watching, lets the stand-ins decide on it, and carries out what they want."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from lab.controllers.changes import Change, PostEvent
from lab.controllers.client import apply_change, list_objects, watch_objects
from lab.controllers.kinds import KINDS, crd_name
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, key, uid
from lab.kubernetes import KubeClient, KubernetesError

log = logging.getLogger("lab.controllers")

Decide = Callable[[ClusterCache], Iterable[Change]]

SETTLE_SECONDS = 0.1
"""How long to gather changes before deciding: a release brings dozens of objects at once."""

TICK_SECONDS = 1.0
"""Deciding at least this often lets time itself be a reason (a certificate ends, a MIG change takes a second)."""

NOT_YET = (404, 429, 503)
"""Answers of an API server that is about to serve a kind: its definition is new, or the server is."""

GONE = 410
"""The API server has forgotten the version to watch from."""

RETRY_SECONDS = 1.0
"""Pause after a failure of the API server; in the lab it is back within seconds."""


async def run_stand_ins(stand_ins: Sequence[Decide], kubeconfig: Callable[[], str | None]) -> None:
    """Runs until cancelled, over any number of API servers' ends and returns.

    The admin's kubeconfig is None while there is no cluster; it is asked for again after each failure.
    """
    while True:
        try:
            text = kubeconfig()
            if text:
                await _Session(stand_ins, text).run(kubeconfig)
        except (KubernetesError, OSError) as error:
            log.info("waiting for the API server: %s", error)
        except Exception:
            # Whatever it was (a line cut off, half a kubeconfig): the campus goes on, and so does this.
            log.exception("began again after a failure")
        await asyncio.sleep(RETRY_SECONDS)


class _Session:
    """The work with one API server, until it fails."""

    def __init__(self, stand_ins: Sequence[Decide], kubeconfig: str) -> None:
        self._stand_ins = stand_ins
        self._kubeconfig = kubeconfig
        self._kube = KubeClient.from_kubeconfig(kubeconfig)
        self._world = ClusterCache()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._noted: set[tuple[str, str, str]] = set()
        self._complaints: set[str] = set()

    async def run(self, kubeconfig: Callable[[], str | None]) -> None:
        """Works until a watch fails or the kubeconfig is no longer the current one."""
        try:
            for kind, place in KINDS.items():
                if place.watched and not place.custom:
                    self._watches[kind] = asyncio.create_task(self._watch(kind))
            while kubeconfig() == self._kubeconfig:
                self._raise_failures()
                self._follow_definitions()
                if all(kind in self._world.objects for kind in self._watches):
                    await self._decide()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: in Python 3.11 it can swallow a cancellation.
                    async with asyncio.timeout(TICK_SECONDS):
                        await self._changed.wait()
                    await asyncio.sleep(SETTLE_SECONDS)
                self._changed.clear()
        finally:
            for task in self._watches.values():
                task.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)
            await self._kube.close()

    def _raise_failures(self) -> None:
        for task in self._watches.values():
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def _follow_definitions(self) -> None:
        """Begins and ends the watches of custom kinds as their definitions come and go."""
        known = self._world.objects.get("CustomResourceDefinition", {})
        for kind, place in KINDS.items():
            if not (place.custom and place.watched):
                continue
            served = _is_established(known.get(("", crd_name(place))))
            if served and kind not in self._watches:
                self._watches[kind] = asyncio.create_task(self._watch(kind))
            elif not served and kind in self._watches:
                self._watches.pop(kind).cancel()
                self._world.objects.pop(kind, None)

    async def _watch(self, kind: str) -> None:
        while True:
            try:
                items, version = await list_objects(self._kube, kind)
            except KubernetesError as error:
                if error.status not in NOT_YET:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._world.objects[kind] = {key(item): item for item in items}
            self._changed.set()
            try:
                while True:
                    async for event, item in watch_objects(self._kube, kind, version):
                        version = item["metadata"]["resourceVersion"]
                        self._see(kind, event, item)
                    # A server that ends watches at once must not keep this process busy.
                    await asyncio.sleep(SETTLE_SECONDS)
            except KubernetesError as error:
                if error.status != GONE:
                    raise

    def _see(self, kind: str, event: str, item: Object) -> None:
        store = self._world.objects.get(kind)
        if event == "BOOKMARK" or store is None:
            return
        seen = store.get(key(item))
        if seen is not None and _version(seen) > _version(item):
            return  # an event on its way while the answer to our own write was already here
        if event == "DELETED":
            store.pop(key(item), None)
        else:
            store[key(item)] = item
        self._changed.set()

    async def _decide(self) -> None:
        self._world.now = datetime.now(UTC)
        for decide in self._stand_ins:
            try:
                changes = list(decide(self._world))
            except Exception as error:  # noqa: BLE001  # whatever it is, the next decision may be right
                # One stand-in's mistake must not stop the others, nor the campus.
                self._complain(f"{decide.__module__} failed: {error!r}", error)
                continue
            for change in changes:
                try:
                    await self._apply(change)
                except KubernetesError as error:
                    if not error.status:
                        raise
                    # It is tried again as long as it is wanted.
                    self._complain(f"{type(change).__name__.lower()} refused: {str(error)[:500].strip()}")

    def _complain(self, text: str, error: Exception | None = None) -> None:
        """Logs a problem once, though every decision finds it again."""
        if text not in self._complaints:
            self._complaints.add(text)
            log.warning("%s", text, exc_info=error)

    async def _apply(self, change: Change) -> None:
        noted = (uid(change.about), change.reason, change.message) if isinstance(change, PostEvent) else None
        if noted in self._noted:
            return
        item = await apply_change(self._kube, change, self._world)
        if noted:
            self._noted.add(noted)
        if item is not None:
            log.info("%s %s/%s", type(change).__name__.lower(), item["kind"], "/".join(filter(None, key(item))))
            # Known at once, so that the next decision does not ask for it again.
            self._see(item["kind"], "MODIFIED", item)


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _is_established(definition: Object | None) -> bool:
    conditions = get_path(definition or {}, "status", "conditions", default=[])
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)
