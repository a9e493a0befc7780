"""K3s's supervisor: the HTTPS service through which servers and agents join."""

import base64
import binascii
import contextlib
import datetime as dt
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lab.k3s import bootstrap, passwords, pki, placement
from lab.k3s.client import SUPERVISOR_PORT
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.paths import Paths
from lab.k3s.tokens import parse_token
from lab.kubernetes import KubeClient, KubernetesError
from lab.real_pods import RealPods

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class SupervisorState:
    """What the supervisor answers from; the server fills it while it starts."""

    paths: Paths
    etcd: Etcd
    kube: KubeClient
    critical: dict[str, str]
    server_password: str
    agent_password: str
    ready: bool = False
    """Whether the API server answers, so that nodes may register."""
    rotate: Callable[[str], Awaitable[None]] | None = None
    """Changes the server token of the cluster to the given password."""
    pods: RealPods | None = None
    """The campus's real pods, where it has some."""


def _matches(left: str, right: str) -> bool:
    return bool(right) and hmac.compare_digest(left.encode(), right.encode())


def _basic_credentials(request: Request) -> tuple[str, str]:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


class Supervisor:
    """The service; `serve` runs until cancelled."""

    def __init__(self, state: SupervisorState) -> None:
        self._state = state
        node, server = partial(_only_for, self._is_node), partial(_only_for, self._is_server)
        self._app = Starlette(
            routes=[
                Route("/cacerts", self._cacerts),
                Route("/v1-k3s/config", node(self._config)),
                Route("/v1-k3s/client-ca.crt", node(self._client_ca)),
                Route("/v1-k3s/client-kubelet.crt", node(self._kubelet_certificate), methods=["POST"]),
                Route("/v1-k3s/serving-kubelet.crt", node(self._serving_certificate), methods=["POST"]),
                Route("/v1-k3s/client-kube-proxy.crt", node(self._proxy_certificate), methods=["POST"]),
                Route(f"{placement.EXTENDER_PATH}/filter", self._filter_nodes, methods=["POST"]),
                Route("/v1-k3s/server-bootstrap", server(self._bootstrap)),
                Route("/v1-k3s/token", server(self._rotate_token), methods=["PUT"]),
                Route("/db/info", server(self._members)),
            ]
        )

    async def serve(self) -> None:
        """Serve HTTPS on all addresses with the API server's certificate."""
        tls = self._state.paths.tls
        config = uvicorn.Config(
            self._app,
            host="0.0.0.0",  # noqa: S104 (as K3s)
            port=SUPERVISOR_PORT,
            ssl_certfile=tls / "serving-kube-apiserver.crt",
            ssl_keyfile=str(tls / "serving-kube-apiserver.key"),
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
        await _ServerWithoutSignals(config).serve()

    def _is_server(self, request: Request) -> bool:
        user, password = _basic_credentials(request)
        return user == "server" and _matches(password, self._state.server_password)

    def _is_node(self, request: Request) -> bool:
        _, password = _basic_credentials(request)
        return _matches(password, self._state.server_password) or _matches(password, self._state.agent_password)

    async def _cacerts(self, _: Request) -> Response:
        return Response((self._state.paths.tls / "server-ca.crt").read_bytes(), media_type="text/plain")

    async def _config(self, _: Request) -> Response:
        return JSONResponse({"critical": self._state.critical})

    async def _client_ca(self, _: Request) -> Response:
        return Response((self._state.paths.tls / "client-ca.crt").read_bytes(), media_type="text/plain")

    async def _bootstrap(self, _: Request) -> Response:
        return Response(bootstrap.pack_files(self._state.paths), media_type="application/json")

    async def _members(self, _: Request) -> Response:
        try:
            members = await self._state.etcd.members()
        except EtcdError as error:
            return PlainTextResponse(f"etcd: {error}", status_code=503)
        return JSONResponse({"clients": [member.client_url for member in members if member.client_url]})

    async def _kubelet_certificate(self, request: Request) -> Response:
        if not self._state.ready:
            return _not_ready()
        name, password = request.headers.get("k3s-Node-Name", ""), request.headers.get("k3s-Node-Password", "")
        if not name or not password:
            return PlainTextResponse("node name and password are not set", status_code=400)
        try:
            if not await passwords.verify_or_register(self._state.kube, name, password):
                message = f"unable to verify password for node {name}: hash does not match"
                return PlainTextResponse(message, status_code=403)
        except KubernetesError as error:
            return PlainTextResponse(f"node password not set: {error}", status_code=503)
        return await self._sign(request, "client-ca", f"system:node:{name}", ("system:nodes",))

    async def _serving_certificate(self, request: Request) -> Response:
        name, address = request.headers.get("k3s-Node-Name", ""), request.headers.get("k3s-Node-IP", "")
        if not name or not address:
            return PlainTextResponse("node name and address are not set", status_code=400)
        return await self._sign(request, "server-ca", name, names=(name, "localhost", "127.0.0.1", address))

    async def _proxy_certificate(self, request: Request) -> Response:
        return await self._sign(request, "client-ca", "system:kube-proxy")

    async def _sign(
        self, request: Request, authority: str, user: str, groups: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Response:
        key = x509.load_pem_x509_csr(await request.body()).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return PlainTextResponse("only elliptic-curve keys are signed", status_code=400)
        issuer = pki.read_authority(self._state.paths.tls / authority)
        signed = pki.sign_leaf(issuer, key, user, groups, names=names, now=dt.datetime.now(dt.UTC))
        return Response(signed, media_type="text/plain")

    async def _filter_nodes(self, request: Request) -> Response:
        """Answer this server's scheduler, where pods are real (`lab.k3s.placement`); not of K3s."""
        question = json.loads(await request.body())
        return JSONResponse(placement.filter_nodes(question, self._state.pods) if self._state.pods else {})

    async def _rotate_token(self, request: Request) -> Response:
        if not self._state.ready or self._state.rotate is None:
            return _not_ready()
        new = parse_token(str(json.loads(await request.body())["newToken"])).password
        await self._state.rotate(new)
        return PlainTextResponse("")


def _only_for(allowed: Callable[[Request], bool], handler: Handler) -> Handler:
    """Ask the handler for those only who may ask it."""

    async def answer(request: Request) -> Response:
        return await handler(request) if allowed(request) else PlainTextResponse("not authorized", status_code=401)

    return answer


def _not_ready() -> Response:
    return PlainTextResponse("apiserver not ready", status_code=503)


class _ServerWithoutSignals(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
