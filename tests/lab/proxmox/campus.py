"""A small campus and clients of its API, in memory, for the tests of this directory."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from config.gpus import Gpu
from config.hosts import Mappings
from config.proxmox_grants import calls_after_token, calls_before_token, mapping_entry
from config.site import Site
from lab.contracts import AdminSetup, LabSpec, PciDevice, PveNode, Storage
from lab.proxmox import Proxmox, create_app
from lab.proxmox.errors import ApiError
from lab.proxmox.fake import FakeHypervisor
from lab.proxmox.fetch import FetchedFile, Fetcher
from lab.proxmox.tasks import Timing

IMAGE_URL = "https://10.21.0.2:8443/images/debian-13.qcow2"
IMAGE = b"a cloud image, as far as the lab is concerned"

GPUS = tuple(
    PciDevice(f"0000:{bus}:00.0", "10de", "20f1", "10de", "145f", group, "030200", "NVIDIA A100 40GB PCIe")
    for bus, group in (("41", 12), ("81", 13))
)
NIC = PciDevice("0000:05:00.0", "8086", "1572", "8086", "0001", 20, "020000", "Ethernet Controller X710")
BRIDGE = PciDevice("0000:00:01.1", "1022", "1483", "1022", "1453", 12, "060400", "Starship GPP Bridge")
STORAGES = (
    Storage("local", "dir", ("iso", "import", "snippets", "vztmpl"), 100),
    Storage("local-lvm", "lvmthin", ("images", "rootdir"), 500),
)


def card(device: PciDevice) -> Gpu:
    """A GPU as a site's file names it, as far as its PCI mapping goes."""
    return cast(
        "Gpu",
        SimpleNamespace(
            card=SimpleNamespace(id=f"{device.vendor}:{device.device}"),
            iommu_group=device.iommu_group,
            pci=device.address,
            subsystem=f"{device.subsystem_vendor}:{device.subsystem_device}",
        ),
    )


def mapped_device(node: str, device: PciDevice) -> str:
    """The mapping entry of a device, as the administrator sends it."""
    return mapping_entry(node, card(device))


def make_setup(mappings: Mapping[str, tuple[PciDevice, ...]]) -> AdminSetup:
    """Lyceum's own set-up calls for a site with a machine for each mapping on pve1, and one without GPUs on pve2."""
    machines = [
        SimpleNamespace(host="pve1", mapping=name, gpus=[card(one) for one in devices])
        for name, devices in mappings.items()
    ]
    site = SimpleNamespace(
        title="the test campus",
        machines=[*machines, SimpleNamespace(host="pve2", mapping="", gpus=[])],
        network=SimpleNamespace(bridge="vmbr0"),
        proxmox=SimpleNamespace(
            pool="lyceum", vm_storage="local-lvm", image_storage="local", mappings=Mappings.EXISTING
        ),
    )
    return AdminSetup(calls_before_token(cast("Site", site)), calls_after_token(cast("Site", site)))


def make_spec(**changes: Any) -> LabSpec:
    """Two nodes, two GPUs on the first, a mapping for each."""
    nodes = tuple(
        PveNode(name, f"10.21.0.{10 + number}", 32, 65536, devices, STORAGES, ("vmbr0",), 500)
        for number, (name, devices) in enumerate((("pve1", (*GPUS, NIC, BRIDGE)), ("pve2", ())), start=1)
    )
    defaults: dict[str, Any] = {
        "name": "lab",
        "cidr": IPv4Network("10.21.0.0/16"),
        "gateway": IPv4Address("10.21.0.1"),
        "nodes": nodes,
        "mirror": IPv4Address("10.21.0.2"),
        "setup": make_setup({f"a100-{number}": (gpu,) for number, gpu in enumerate(GPUS)}),
    }
    return LabSpec(**(defaults | changes))


class FakeFetcher(Fetcher):
    """Serves one image without a network."""

    async def metadata(self, url: str, *, verify: bool) -> FetchedFile:
        if url != IMAGE_URL:
            raise ApiError(500, "invalid server response: '404 Not Found'")
        return FetchedFile(len(IMAGE), "application/octet-stream")

    async def download(self, url: str, *, verify: bool, algorithm: str | None) -> FetchedFile:
        found = await self.metadata(url, verify=verify)
        digest = hashlib.new(algorithm, IMAGE).hexdigest() if algorithm else ""
        return FetchedFile(found.size, found.mimetype, digest)


class Refused(AssertionError):  # noqa: N818  # reads as a state in `pytest.raises`
    """The API answered with an error."""

    def __init__(self, response: httpx.Response) -> None:
        body = response.json()
        self.status = response.status_code
        self.errors = body.get("errors", {})
        super().__init__(f"{response.status_code} {body['message'].strip()} {self.errors or ''}")


class Client:
    """Calls the API as one caller."""

    def __init__(self, http: httpx.AsyncClient, px: Proxmox) -> None:
        self.http = http
        self.px = px

    async def call(self, method: str, path: str, **params: Any) -> Any:
        """Data of the answer; raises `Refused`. Two underscores in a parameter's name become a hyphen."""
        sent = {name.replace("__", "-"): value for name, value in params.items()}
        in_query = method in ("GET", "DELETE")
        response = await self.http.request(
            method, f"/api2/json/{path}", params=sent if in_query else None, data=None if in_query else sent
        )
        if response.is_error:
            raise Refused(response)
        return response.json()["data"]

    async def get(self, path: str, **params: Any) -> Any:
        return await self.call("GET", path, **params)

    async def post(self, path: str, **params: Any) -> Any:
        return await self.call("POST", path, **params)

    async def put(self, path: str, **params: Any) -> Any:
        return await self.call("PUT", path, **params)

    async def delete(self, path: str, **params: Any) -> Any:
        return await self.call("DELETE", path, **params)

    async def task(self, method: str, path: str, **params: Any) -> str:
        """Call, wait for the task, return its exit status."""
        upid = await self.call(method, path, **params)
        await self.px.cluster.tasks.wait_until_idle()
        return str(self.px.cluster.state.tasks[upid].exitstatus)

    async def vm(self, vmid: int = 100, node: str = "pve1", **options: Any) -> None:
        """Make a VM in Lyceum's pool and see that it worked."""
        made = {"pool": "lyceum", "name": f"vm{vmid}", "memory": "4096", "cores": 4} | options
        assert await self.task("POST", f"nodes/{node}/qemu", vmid=vmid, **made) == "OK"


class Campus:
    """A running API with its hypervisor and clients."""

    def __init__(self, px: Proxmox, hypervisor: FakeHypervisor, run: Path) -> None:
        self.px = px
        self.hypervisor = hypervisor
        self.run = run
        self.token = self.as_token((run / "proxmox-token").read_text())
        """As Lyceum calls."""
        self.anonymous = self._client({})

    def _client(self, headers: dict[str, str]) -> Client:
        transport = httpx.ASGITransport(self.px)
        return Client(httpx.AsyncClient(transport=transport, base_url="https://pve1:8006", headers=headers), self.px)

    def as_token(self, token: str) -> Client:
        return self._client({"Authorization": f"PVEAPIToken={token}"})

    async def root(self) -> Client:
        """As root@pam by ticket."""
        answer = await self.anonymous.post("access/ticket", username="root@pam", password=self.px.root_password)
        cookie = f"PVEAuthCookie={answer['ticket']}"
        return self._client({"Cookie": cookie, "CSRFPreventionToken": answer["CSRFPreventionToken"]})


@asynccontextmanager
async def running(run: Path, spec: LabSpec | None = None, timing: Timing | None = None) -> AsyncIterator[Campus]:
    """Start the API on a directory, as a campus does, and stop it again."""
    hypervisor = FakeHypervisor()
    px = create_app(spec or make_spec(), hypervisor, run, timing=timing or Timing(linger=0), fetcher=FakeFetcher(run))
    await px.open()
    try:
        yield Campus(px, hypervisor, run)
    finally:
        await px.close()


def image_call() -> dict[str, str]:
    """What `download-url` needs for the campus's image."""
    return {
        "content": "import",
        "filename": "debian-13.qcow2",
        "url": IMAGE_URL,
        "checksum": hashlib.sha256(IMAGE).hexdigest(),
        "checksum__algorithm": "sha256",
    }
