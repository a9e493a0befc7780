"""`nodes/N/storage`: storages, their content, downloads."""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from lab.contracts import Storage
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter
from lab.proxmox.propstring import GIB
from lab.proxmox.router import RouteTable
from lab.proxmox.state import TaskRecord, Volume
from lab.proxmox.vmaccess import check_volume_access

table = RouteTable()

_EXTENSIONS = {
    "iso": (".iso", ".img"),
    "vztmpl": (".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"),
    "import": (".ova", ".ovf", ".qcow2", ".raw", ".vmdk"),
}
"""What may be downloaded, with the file extensions Proxmox VE 9 accepts. Snippets cannot come this way."""


def list_visible_storages(cluster: Cluster, call: Call, node: str) -> list[Storage]:
    """The storages of a node that the caller may use or audit."""
    return [
        storage
        for storage in cluster.volumes.storages(node)
        if cluster.access.has(
            call.identity, f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace", any_of=True
        )
    ]


def storage_figures(cluster: Cluster, node: str, storage: Storage) -> dict[str, Any]:
    """State and space of a storage, in bytes."""
    total = storage.size_gib * GIB
    used = min(total, cluster.volumes.used(node, storage))
    return {
        "type": storage.type,
        "content": ",".join(storage.content),
        "active": 1,
        "enabled": 1,
        "shared": 0,
        "total": total,
        "used": used,
        "avail": total - used,
        "used_fraction": used / total if total else 1.0,
    }


@table.get("nodes/{node}/storage")
async def list_storages(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The storages of a node; `content` and `storage` filter."""
    wanted = set(call.items("content"))
    return [
        {"storage": storage.name, **storage_figures(cluster, call.node, storage)}
        for storage in list_visible_storages(cluster, call, call.node)
        if (not wanted or wanted & set(storage.content)) and call.text("storage") in ("", storage.name)
    ]


@table.get("nodes/{node}/storage/{storage}/content")
async def list_content(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Volumes of a storage that the caller may read; `content` and `vmid` filter."""
    storage = cluster.volumes.storage(call.node, call["storage"])
    return [
        _describe(name, volume)
        for name, volume in cluster.volumes.volumes_on(call.node, storage.name)
        if call.text("content") in ("", volume.content)
        and call.text("vmid") in ("", str(volume.vmid))
        and _is_readable(cluster, call, name, volume)
    ]


def _is_readable(cluster: Cluster, call: Call, name: str, volume: Volume) -> bool:
    try:
        check_volume_access(cluster.access, call.identity, name, volume.vmid, None, volume.content)
    except ApiError:
        return False
    return True


def _describe(name: str, volume: Volume) -> dict[str, Any]:
    described: dict[str, Any] = {
        "volid": name,
        "content": volume.content,
        "format": volume.format,
        "size": volume.size,
        "ctime": volume.created,
    }
    return described | ({"vmid": volume.vmid, "used": volume.written} if volume.vmid is not None else {})


def _volume_id(call: Call) -> str:
    volume = call["volume"]
    return volume if ":" in volume else f"{call['storage']}:{volume}"


@table.get("nodes/{node}/storage/{storage}/content/{volume}")
async def read_volume(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Path, format and size of a volume."""
    name = _volume_id(call)
    volume = cluster.volumes.find(call.node, name)
    check_volume_access(cluster.access, call.identity, name, volume.vmid, None, volume.content)
    directory = cluster.volumes.path(cluster.volumes.storage(call.node, call["storage"]))
    path = f"{directory}/{name.partition(':')[2]}" if directory else f"/dev/pve/{name.partition(':')[2]}"
    return {"path": path, "format": volume.format, "size": volume.size, "used": volume.written}


@table.get("nodes/{node}/query-url-metadata")
async def read_url_metadata(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Name, type and size of what a URL holds."""
    url = _read_url(call)
    found = await cluster.fetcher.metadata(url, verify=call.flag("verify-certificates", default=True))
    name = PurePosixPath(urlsplit(url).path).name
    return {"filename": name, "mimetype": found.mimetype, "size": found.size}


@table.post("nodes/{node}/storage/{storage}/download-url")
async def download_url(cluster: Cluster, call: Call) -> str:
    """Fetch a file onto a storage; a task that fails on a wrong checksum or a full storage."""
    url = _read_url(call)
    volume = _new_volume(cluster, call, call.required("filename"))
    if cluster.volumes.exists(call.node, volume):
        raise ApiError(400, f"refusing to override existing file '{call.text('filename')}'")
    algorithm = call.text("checksum-algorithm") or None
    if call.has("checksum") != (algorithm is not None):
        raise bad_parameter("checksum", "'checksum' and 'checksum-algorithm' need each other")
    if algorithm not in (None, "md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
        raise bad_parameter("checksum-algorithm", f"value '{algorithm}' does not have a value in the enumeration")
    content, verify = call.text("content"), call.flag("verify-certificates", default=True)

    async def work(record: TaskRecord) -> None:
        record.log.append(f"downloading {url} to {volume}")
        found = await cluster.fetcher.download(url, verify=verify, algorithm=algorithm)
        if algorithm and found.digest != call.text("checksum").lower():
            raise ApiError(500, f"checksum mismatch: got '{found.digest}' != expect '{call.text('checksum')}'")
        cluster.volumes.add_file(call.node, volume, content, found.size)

    return cluster.tasks.start(call.node, "download", call.text("filename"), call, work)


def _read_url(call: Call) -> str:
    url = call.required("url")
    if not re.match(r"https?://", url):
        raise bad_parameter("url", f"'{url}' does not match the regex pattern 'https?://.*'")
    return url


def _new_volume(cluster: Cluster, call: Call, name: str) -> str:
    """The volume that a file becomes, if its storage and name allow it."""
    content = call.required("content")
    storage = cluster.volumes.storage(call.node, call["storage"])
    if content not in _EXTENSIONS:
        raise bad_parameter("content", f"upload content type '{content}' not allowed")
    if cluster.volumes.path(storage) is None:
        raise ApiError(500, f"can't upload to storage type '{storage.type}', not a file based storage!")
    if content not in storage.content:
        raise ApiError(500, f"storage '{storage.name}' is not configured for content-type '{content}'")
    if not name.endswith(_EXTENSIONS[content]) or not re.fullmatch(r"[\w.+@-]+", name):
        raise bad_parameter("filename", "invalid filename or wrong extension")
    return f"{storage.name}:{content}/{name}"
