"""The lab's registry: the read-only part of the OCI distribution API over the images in the cache.

containerd asks it for images of every registry, and names the one that it means in `?ns=`. What is not there is refused
as a real registry does it, so that a pod with such an image waits in ImagePullBackOff.
"""

import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from lab.images.build import Built, full_name
from lab.request_log import RequestLog
from toolchain.images.archive import MANIFEST

PORT = 5000
DEFAULT_HOST = "docker.io"
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
LOG = "registry-requests.jsonl"


def create_app(built: Built, log: RequestLog | None = None) -> Starlette:
    """The registry as an ASGI application.

    Args:
        built: What it serves.
        log: Gets a line for each manifest that was asked for, with the image's full name.
    """
    manifests = {name: found for name, found in built.manifests.items() if "@" not in name}
    blobs = built.blobs
    kinds = {found.digest: found.media for found in manifests.values()}
    repositories: dict[str, list[str]] = {}
    for name in manifests:
        repository, _, tag = name.rpartition(":")
        repositories.setdefault(repository, []).append(tag)

    def repository_of(request: Request) -> str:
        host = request.query_params.get("ns", DEFAULT_HOST)
        return full_name(f"{host}/{request.path_params['name']}")

    async def ping(_: Request) -> Response:
        return JSONResponse({}, headers=VERSION)

    async def manifest(request: Request) -> Response:
        begun, repository, reference = time.monotonic(), repository_of(request), request.path_params["reference"]
        answer = find_manifest(repository, reference)
        if log is not None:
            log.write(request.method, f"{repository} {reference}", answer.status_code, begun)
        return answer

    def find_manifest(repository: str, reference: str) -> Response:
        if reference.startswith("sha256:"):
            known = [
                tag for tag in repositories.get(repository, ()) if manifests[f"{repository}:{tag}"].digest == reference
            ]
            digest = reference if known else None
        else:
            found = manifests.get(f"{repository}:{reference}")
            digest = found.digest if found else None
        if digest is None:
            code = "MANIFEST_UNKNOWN" if repository in repositories else "NAME_UNKNOWN"
            return refuse(404, code, {"name": repository, "reference": reference})
        document = blobs[digest]
        assert isinstance(document, bytes)  # noqa: S101  # manifests are computed, see Built.blobs
        headers = VERSION | {"Docker-Content-Digest": digest, "Etag": f'"{digest}"'}
        return Response(document, media_type=kinds.get(digest, MANIFEST), headers=headers)

    async def blob(request: Request) -> Response:
        digest = request.path_params["digest"]
        content = blobs.get(digest)
        if content is None:
            return refuse(404, "BLOB_UNKNOWN", {"digest": digest})
        headers = VERSION | {"Docker-Content-Digest": digest, "Etag": f'"{digest}"'}
        if isinstance(content, bytes):
            return Response(content, media_type="application/octet-stream", headers=headers)
        return FileResponse(content, media_type="application/octet-stream", headers=headers)

    async def tags(request: Request) -> Response:
        repository = repository_of(request)
        if repository not in repositories:
            return refuse(404, "NAME_UNKNOWN", {"name": repository})
        listed = {"name": request.path_params["name"], "tags": sorted(repositories[repository])}
        return JSONResponse(listed, headers=VERSION)

    async def read_only(_: Request) -> Response:
        return refuse(405, "UNSUPPORTED", {"reason": "this registry is read-only"})

    return Starlette(
        routes=[
            Route("/v2/", ping),
            Route("/v2/{name:path}/manifests/{reference}", manifest),
            Route("/v2/{name:path}/blobs/{digest}", blob),
            Route("/v2/{name:path}/tags/list", tags),
            Route("/v2/{rest:path}", read_only, methods=["POST", "PUT", "PATCH", "DELETE"]),
        ]
    )


MESSAGES = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "UNSUPPORTED": "the operation is unsupported",
}
"""Of the distribution specification's error codes."""


def build_server(app: Starlette, host: str, port: int = PORT) -> uvicorn.Server:
    """A server for one address, without TLS: containerd's hosts.toml says so."""
    return uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
    )


def refuse(status: int, code: str, detail: dict[str, str]) -> Response:
    """An error as the distribution specification wants it."""
    return JSONResponse(
        {"errors": [{"code": code, "message": MESSAGES[code], "detail": detail}]}, status, headers=VERSION
    )
