"""The simulated Proxmox API under the real provider and engine, with Lyceum's least-privilege token.

What holds here is what lets the lab stand for a real node: create, an empty plan, each kind of update, delete. To run
it with other plugins put them into LYCEUM_TEST_PLUGINS (a Pulumi home directory).
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.proxmox.faults import Fault
from tests.lab.proxmox.campus import IMAGE_URL, make_spec
from tests.lab.proxmox.served import ServedCampus
from tests.support.engine import Project

pytestmark = pytest.mark.engine

OTHER_PLUGINS = os.environ.get("LYCEUM_TEST_PLUGINS")

PROGRAM = """
import json, pathlib, pulumi
import pulumi_proxmoxve as px

given = json.loads(pathlib.Path("given.json").read_text())
provider = px.Provider("pve", endpoint=given["endpoint"], api_token=given["token"])
opts = pulumi.ResourceOptions(provider=provider)

def machine(name, vmid, **changes):
    disks = given["disks"]
    settings = dict(
        vm_id=vmid, node_name="pve1", name=name, pool_id="lyceum", machine="q35", bios="ovmf",
        description=given["description"], tags=sorted(given["tags"]),
        efi_disk={"datastore_id": "local-lvm", "type": "4m", "pre_enrolled_keys": False, "file_format": "raw"},
        cdrom={"interface": "ide0", "file_id": "none"}, boot_orders=["scsi0"],
        operating_system={"type": "l26"}, scsi_hardware="virtio-scsi-single",
        serial_devices=[{"device": "socket"}],
        cpu={"cores": 8, "type": "host"}, memory={"dedicated": given["memory"], "floating": 0},
        agent={"enabled": True, "wait_for_ip": {"disabled": True}},
        disks=[{"interface": f"scsi{n}", "datastore_id": "local-lvm", "size": size, "iothread": True, "discard": "on",
                "serial": f"disk{n}", "file_format": "raw", "import_from": given["image"] if n == 0 else None}
               for n, size in enumerate(disks)],
        hostpcis=[{"device": f"hostpci{n}", "mapping": mapping, "pcie": True, "rombar": True}
                  for n, mapping in enumerate(given["gpus"])],
        network_devices=[{"bridge": "vmbr0", "mac_address": "00:16:3E:63:79:29"}],
        initialization={"datastore_id": "local-lvm", "dns": {"servers": ["10.21.0.2"], "domain": "lab.example"},
            "ip_configs": [{"ipv4": {"address": "10.21.0.38/16", "gateway": "10.21.0.1"}}],
            "user_account": {"username": "lyceum", "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYg lyceum"]}},
        on_boot=True, migrate=False, stop_on_destroy=True, protection=given["protection"],
        reboot_after_update=given["reboot"], delete_unreferenced_disks_on_destroy=False,
        opts=pulumi.ResourceOptions(provider=provider, delete_before_replace=True,
            ignore_changes=["initialization", *(f"disks[{n}].speed" for n, _ in enumerate(disks))]))
    return px.VmLegacy(name, **{**settings, **changes})
"""

ONE_MACHINE = PROGRAM + 'machine("gpu1", 300)\n'

DEFAULTS: dict[str, Any] = {
    "memory": 16384,
    "disks": [40],
    "gpus": ["a100-0"],
    "tags": ["lyceum", "alpha"],
    "description": "made by a test",
    "protection": False,
    "reboot": False,
    "image": "local:import/debian-13.qcow2",
}


class Bench:
    """A campus, a project whose program talks to it, and what the program is given."""

    def __init__(self, directory: Path) -> None:
        self.campus = ServedCampus(directory / "campus", make_spec())
        trust = {"SSL_CERT_FILE": str(self.campus.ca)}
        self.project = Project(directory / "project", trust | ({"PULUMI_HOME": OTHER_PLUGINS} if OTHER_PLUGINS else {}))
        self.given: dict[str, Any] = {"endpoint": self.campus.endpoint, "token": self.campus.token, **DEFAULTS}
        self.give()

    def give(self, **changes: Any) -> None:
        """Change what the program is given."""
        self.given |= changes
        (self.project.directory / "given.json").write_text(json.dumps(self.given))

    def preview(self) -> dict[str, int]:
        """Number of resources by operation that `up` would do."""
        summary = json.loads(self.project.pulumi("preview", "--json").output)["changeSummary"]
        return {operation: int(count) for operation, count in summary.items()}

    def calls(self, since: int) -> list[str]:
        """Changes that were asked of the API, in order: method and path."""
        return [
            f"{call['method']} {call['path']}" for call in self.campus.requests()[since:] if call["method"] != "GET"
        ]

    def mark(self) -> int:
        """How many calls the API has seen."""
        return len(self.campus.requests())

    def config(self, vmid: int = 300) -> dict[str, Any]:
        """A VM's configuration as the administrator reads it."""
        return dict(self.campus.api("GET", f"nodes/pve1/qemu/{vmid}/config"))

    def download_image(self) -> None:
        """Put the image where the machines import it from."""
        self.campus.api(
            "POST",
            "nodes/pve1/storage/local/download-url",
            {"content": "import", "filename": "debian-13.qcow2", "url": IMAGE_URL},
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.campus.stop()


def test_a_gpu_machine_is_made_planned_updated_and_removed(bench: Bench) -> None:
    """One walk through a machine's life, because each step needs the one before and the engine takes seconds."""
    bench.download_image()
    bench.project.program(ONE_MACHINE)
    bench.project.up()
    machine = bench.campus.hypervisor.machines[300]
    assert [gpu.address for gpu in machine.gpus] == ["0000:41:00.0"]
    assert machine.nics[0].address == "10.21.0.38/16"
    assert [disk.size_gib for disk in machine.disks] == [40]
    assert bench.preview() == {"same": 3}, "an unchanged program must plan nothing"

    mark = bench.mark()
    bench.give(tags=["lyceum", "beta"], description="changed by a test")
    bench.project.up()
    assert bench.config()["tags"] == "beta;lyceum"
    assert bench.calls(mark) == ["PUT nodes/pve1/qemu/300/config"], "tags and description need no power action"
    assert bench.preview() == {"same": 3}

    mark = bench.mark()
    bench.give(disks=[64])
    bench.project.up()
    assert "size=64G" in bench.config()["scsi0"]
    assert not [call for call in bench.calls(mark) if "/status/" in call], "a disk grows while the machine runs"
    assert bench.preview() == {"same": 3}

    mark = bench.mark()
    bench.give(memory=32768)
    bench.project.up()
    assert not [call for call in bench.calls(mark) if "/status/" in call], "nobody allowed a reboot"
    assert bench.campus.hypervisor.machines[300].memory_mib == 16384, "the change waits for the next start"
    bench.give(reboot=True, memory=24576)
    bench.project.up()
    assert bench.campus.hypervisor.machines[300].memory_mib == 24576, "with a reboot allowed it takes effect"

    bench.give(gpus=["a100-0", "a100-1"])
    bench.project.up()
    assert [gpu.address for gpu in bench.campus.hypervisor.machines[300].gpus] == ["0000:41:00.0", "0000:81:00.0"]
    assert bench.preview() == {"same": 3}

    bench.project.destroy()
    state = bench.campus.px.cluster.state
    assert (state.vms, bench.campus.hypervisor.machines) == ({}, {})
    assert [name for name, volume in state.volumes.items() if volume.vmid] == [], "no disk stays behind"
