"""The simulated Proxmox VE cluster as an ASGI application."""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from config import proxmox_grants
from lab.contracts import Hypervisor, LabSpec
from lab.proxmox import power, wire
from lab.proxmox.auth import Auth
from lab.proxmox.call import ROOT, Call, Identity
from lab.proxmox.cluster import Cluster, Locks
from lab.proxmox.errors import ApiError
from lab.proxmox.faults import ApiFaults
from lab.proxmox.fetch import Fetcher
from lab.proxmox.permissions import RULES
from lab.proxmox.privileges import Access
from lab.proxmox.router import Router
from lab.proxmox.routes import TABLES
from lab.proxmox.state import ClusterState, TaskRecord, load_state, reconcile_state
from lab.proxmox.tasks import TaskBoard, Timing
from lab.proxmox.volumes import Volumes
from lab.request_log import RequestLog, redact
from lab.rundir import ensure_secret

_NOBODY = Identity("")


class Proxmox:
    """The cluster behind its API; itself the ASGI application, with a lifespan.

    Files under `run`: `proxmox-token` (`user@realm!name=uuid`) and `root-password`, both for their owner only,
    `pve/state.json`, `log/proxmox-requests.jsonl`.

    Args:
        spec: The campus.
        hypervisor: Boots and stops the machines.
        run: Directory of the campus.
        timing: Durations of tasks; by default none.
        fetcher: How nodes download; by default over HTTP, trusting `run`/ca.pem.
    """

    def __init__(
        self,
        spec: LabSpec,
        hypervisor: Hypervisor,
        run: Path,
        *,
        timing: Timing | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        timing = timing or Timing()
        directory = run / "pve"
        directory.mkdir(parents=True, exist_ok=True)
        state = load_state(directory / "state.json") or ClusterState()
        reconcile_state(state)
        self.faults = ApiFaults()
        """Injected faults and conditions."""
        self.root_password = ensure_secret(run / "root-password", lambda: secrets.token_urlsafe(18))
        self.cluster = Cluster(
            spec=spec,
            hypervisor=hypervisor,
            state=state,
            state_file=directory / "state.json",
            access=Access(state),
            volumes=Volumes(spec, state, self.faults.conditions, directory / "storage"),
            tasks=TaskBoard(state, timing, self._save),
            locks=Locks(timing.lock_timeout),
            faults=self.faults,
            fetcher=fetcher or Fetcher(run / "ca.pem"),
            started=time.time(),
        )
        self._run = run
        self._auth = Auth(state, self.root_password)
        self._router = Router(TABLES)
        self._log = RequestLog(run / "log" / "proxmox-requests.jsonl")
        self._users = 0
        self.app = Starlette(
            routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "PUT", "DELETE"])],
            lifespan=self._lifespan,
        )
        """The application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request or the lifespan."""
        await self.app(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # Served on several addresses: the first server opens, the last one closes.
        self._users += 1
        if self._users == 1:
            await self.open()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                await self.close()

    async def open(self) -> None:
        """Do the administrator's set-up where it is missing and let VMs with `onboot` boot in the background."""
        await self._set_up()
        for vmid, vm in self.cluster.state.vms.items():
            if vm.config.get("onboot") == 1 and not self.cluster.running(vmid):
                self._boot(vmid, vm.node)
        self._save()

    async def close(self) -> None:
        """Interrupt running tasks and write the state down; the machines are the hypervisor's."""
        await self.cluster.tasks.close()
        self._save()
        self._log.close()

    def handlers(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """For the campus's control socket: faults."""
        return dict(self.faults.handlers())

    async def call(self, method: str, path: str, params: Mapping[str, str | tuple[str, ...]] | None = None) -> Any:
        """Call the API as root@pam, past HTTP, log and faults; tuples are repeated parameters. Raises `ApiError`."""
        sent = {name: [value] if isinstance(value, str) else list(value) for name, value in (params or {}).items()}
        return await self._invoke(Call(ROOT, method, path, sent))

    async def _set_up(self) -> None:
        setup = self.cluster.spec.setup
        if setup is None:
            return
        for call in setup.before_token:
            await self._ensure(call)
        await self._ensure_token(self._run / "proxmox-token")
        for call in setup.after_token:
            await self._ensure(call)

    async def _ensure(self, call: proxmox_grants.ApiCall) -> None:
        try:
            await self.call(call.method, call.path, call.params)
        except ApiError as refusal:
            if "already exists" not in refusal.message:
                raise
            if call.update:
                await self._ensure(call.update)

    async def _ensure_token(self, file: Path) -> None:
        creation = proxmox_grants.token_call()
        exists = proxmox_grants.TOKEN_NAME in self.cluster.state.users[proxmox_grants.USER].tokens
        if exists and file.exists():
            return
        if exists:  # the secret is lost, and the API shows it only once
            await self.call("DELETE", creation.path)
        answer = await self.call(creation.method, creation.path, creation.params)
        file.unlink(missing_ok=True)
        ensure_secret(file, lambda: f"{answer['full-tokenid']}={answer['value']}")

    def _boot(self, vmid: int, node: str) -> None:
        async def work(_record: TaskRecord) -> None:
            async with self.cluster.locks.vm(vmid):
                await power.start(self.cluster, vmid)

        self.cluster.tasks.start(node, "qmstart", str(vmid), Call(ROOT, "POST", ""), work)

    def _save(self) -> None:
        self.cluster.save()

    async def _answer(self, request: Request) -> Response:
        began = time.monotonic()
        call = Call(_NOBODY, request.method, wire.api_path(request.scope["raw_path"]))
        outcome, status, drop = "", 500, False
        try:
            call.params = await wire.read_parameters(request)
            drop = self._apply_faults(call)
            if (call.method, call.path) == ("POST", "access/ticket"):
                data: Any = self._auth.sign_in(call.required("username"), call.required("password"))
            else:
                call.identity = self._auth.identify(request)
                data = await self._invoke(call)
            outcome = data if isinstance(data, str) and data.startswith("UPID:") else ""
            response, status = wire.success_response(data), 200
        except ApiError as refusal:
            outcome, status = _error_text(refusal), refusal.status
            response = wire.error_response(refusal)
        finally:
            user, params = call.identity.name, redact(call.params)
            status = 0 if drop else status
            self._log.write(call.method, call.path, status, began, user=user, params=params, outcome=outcome)
        return wire.DroppedResponse() if drop else response

    def _apply_faults(self, call: Call) -> bool:
        """Apply the faults that hit this call; returns whether its answer is to be lost."""
        drop = False
        for fault in self.faults.hits(f"{call.method} {call.path}"):
            match fault.kind:
                case "status":
                    raise ApiError(fault.status, fault.message)
                case "task":
                    call.task_fault = fault
                case "drop":
                    drop = True
        return drop

    async def _invoke(self, call: Call) -> Any:
        route, call.names = self._router.find(call.method, call.path)
        RULES[route.method, route.pattern](call, self.cluster.access)
        if "node" in call.names:
            self.cluster.node(call.node)
        changes = call.method != "GET"
        if changes and not self.faults.conditions.quorate:
            raise ApiError(500, "cluster not ready - no quorum?")
        data = await route.handler(self.cluster, call)
        if changes:
            self._save()
        return data


def create_app(
    spec: LabSpec, hypervisor: Hypervisor, run: Path, *, timing: Timing | None = None, fetcher: Fetcher | None = None
) -> Proxmox:
    """Build the Proxmox VE API of a campus; arguments as of `Proxmox`."""
    return Proxmox(spec, hypervisor, run, timing=timing, fetcher=fetcher)


def _error_text(refusal: ApiError) -> str:
    return "; ".join([refusal.message, *(f"{name}: {text}" for name, text in refusal.errors.items())])
