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

    def wait_until_idle(self) -> None:
        """Wait until every task has ended."""
        self.campus.wait_until_idle()

    def download_image(self) -> None:
        """Put the image where the machines import it from."""
        self.campus.api(
            "POST",
            "nodes/pve1/storage/local/download-url",
            {"content": "import", "filename": "debian-13.qcow2", "url": IMAGE_URL},
        )
        self.wait_until_idle()


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


ADMINISTRATION = """
import json, pathlib, pulumi
import pulumi_proxmoxve as px

given = json.loads(pathlib.Path("given.json").read_text())
root = px.Provider("root", endpoint=given["endpoint"], username="root@pam", password=given["password"])
opts = pulumi.ResourceOptions(provider=root)
asking = pulumi.InvokeOptions(provider=root)

px.hardware.mapping.Pci("mapping", name="both", comment=given["comment"], maps=[
    px.hardware.mapping.PciMapArgs(id="10de:20f1", node="pve1", path=f"0000:{bus}:00.0", iommu_group=number,
                                   subsystem_id="10de:145f") for bus, number in (("41", 12), ("81", 13))], opts=opts)
plain = px.VmLegacy("plain", vm_id=400, node_name="pve1", name="plain", started=False, boot_orders=["net0"],
    cdrom={"interface": "ide0", "file_id": "none"}, network_devices=[{"bridge": "vmbr0"}],
    opts=pulumi.ResourceOptions(provider=root, ignore_changes=["disks[0].speed"]))

pulumi.export("version", px.get_version_output(opts=asking).version)
pulumi.export("nodes", px.get_nodes_legacy_output(opts=asking).names)
pulumi.export("gpus", px.hardware.get_pci_output(node_name="pve1", opts=asking).devices.apply(
    lambda found: sorted(device.id for device in found)))
"""


def test_what_an_administrator_declares_is_kept_and_plans_nothing(bench: Bench) -> None:
    """Everything beside GPU machines: signing in by password, mappings, a machine that is off, look-ups."""
    bench.give(password=bench.campus.px.root_password, comment="first")
    bench.project.program(ADMINISTRATION)
    bench.project.up()

    outputs = bench.project.outputs()
    assert outputs["version"].startswith("9.")
    assert outputs["nodes"] == ["pve1", "pve2"]
    assert outputs["gpus"] == ["0000:05:00.0", "0000:41:00.0", "0000:81:00.0"], "bridges are left out"
    plan = bench.preview()
    assert list(plan) == ["same"], f"an unchanged program must plan nothing, not {plan}"

    bench.give(comment="second")
    bench.project.up()
    assert bench.campus.api("GET", "cluster/mapping/pci/both")["description"] == "second"
    assert list(bench.preview()) == ["same"]

    bench.project.destroy()
    state = bench.campus.px.cluster.state
    assert "both" not in state.mappings


def test_a_token_may_not_pass_a_raw_device(bench: Bench) -> None:
    """Only root@pam by ticket may; that is why Lyceum uses mappings."""
    bench.download_image()
    bench.project.program(PROGRAM + 'machine("gpu1", 300, hostpcis=[{"device": "hostpci0", "id": "0000:41:00.0"}])\n')

    run = bench.project.up(fails=True)

    assert "only root can set 'hostpci0' config for non-mapped devices" in run.output
    assert bench.campus.px.cluster.state.vms == {}


def test_a_privilege_that_is_missing_is_named_to_the_user(bench: Bench) -> None:
    bench.download_image()
    role = bench.campus.px.cluster.state.roles["LyceumDevice"]
    role.remove("Mapping.Use")
    bench.project.program(ONE_MACHINE)

    run = bench.project.up(fails=True)

    assert "/mapping/pci/a100-0, Mapping.Use" in run.output


def test_a_gpu_that_another_vm_holds_is_refused_by_name_and_taken_when_it_is_free(bench: Bench) -> None:
    """The engine keeps the machine that did not start and repairs it by the next update."""
    bench.download_image()
    bench.campus.api("POST", "nodes/pve1/qemu", {"vmid": "900", "machine": "q35", "hostpci0": "mapping=a100-0,pcie=1"})
    bench.wait_until_idle()
    bench.campus.api("POST", "nodes/pve1/qemu/900/status/start")
    bench.project.program(ONE_MACHINE)

    run = bench.project.up(fails=True)

    assert "PCI device '0000:41:00.0' already in use by VMID '900'" in run.output
    bench.campus.api("POST", "nodes/pve1/qemu/900/status/stop")
    bench.project.up()
    assert 300 in bench.campus.hypervisor.machines


def test_a_held_lock_is_waited_for(bench: Bench) -> None:
    """P1: the provider tries the creation again."""
    bench.download_image()
    bench.campus.px.faults.rules.append(
        Fault(route="POST nodes/pve1/qemu$", kind="status", message="can't lock file '/x' - got timeout", count=2)
    )
    bench.project.program(ONE_MACHINE)
    bench.project.up()
    assert 300 in bench.campus.hypervisor.machines


def test_a_creation_whose_reply_was_lost_is_finished_by_the_next_run(bench: Bench) -> None:
    """P3: the provider takes "already exists" on its second attempt for its own work, and finishes the machine."""
    bench.download_image()
    bench.campus.px.faults.rules.append(Fault(route="POST nodes/pve1/qemu$", kind="drop"))
    bench.project.program(ONE_MACHINE)
    bench.project.up(fails=True)
    assert list(bench.campus.px.cluster.state.vms) == [300], "it was made, though nobody heard"

    bench.project.up()

    assert [disk.size_gib for disk in bench.campus.hypervisor.machines[300].disks] == [40]
    assert bench.preview() == {"same": 3}


def test_a_creation_that_fails_leaves_nothing_and_shows_the_tasks_log(bench: Bench) -> None:
    """P2."""
    bench.download_image()
    bench.campus.px.faults.rules.append(
        Fault(route="POST nodes/pve1/qemu$", kind="task", message="lvcreate: out of space")
    )
    bench.project.program(ONE_MACHINE)

    run = bench.project.up(fails=True)

    assert "TASK ERROR: lvcreate: out of space" in run.output
    assert bench.campus.px.cluster.state.vms == {}
    bench.project.up()


def test_somebody_elses_machine_of_the_same_number_is_not_taken_over(bench: Bench) -> None:
    """The provider takes "already exists" for its own work (see above); only the token's limits protect the other VM.

    It is therefore for Lyceum's own checks to ask for free numbers before anything is created.
    """
    bench.download_image()
    bench.campus.api("POST", "nodes/pve1/qemu", {"vmid": "300", "name": "theirs", "scsi0": "local-lvm:7"})
    bench.wait_until_idle()
    before = bench.config()
    bench.project.program(ONE_MACHINE)

    run = bench.project.up(fails=True)

    assert "Permission check failed (/vms/300, VM." in run.output
    assert bench.config() == before


def test_a_protected_machine_survives_a_destroy(bench: Bench) -> None:
    """P12: without the engine's own protection the provider powers the machine off before it is refused."""
    bench.download_image()
    bench.give(protection=True)
    bench.project.program(ONE_MACHINE)
    bench.project.up()

    run = bench.project.pulumi("destroy", "--yes", "--skip-preview", fails=True)

    assert "protection mode enabled" in run.output
    assert 300 in bench.campus.px.cluster.state.vms


def test_a_machine_removed_behind_the_engines_back_is_seen_by_refresh(bench: Bench) -> None:
    """P9: drift."""
    bench.download_image()
    bench.project.program(ONE_MACHINE)
    bench.project.up()
    bench.campus.api("PUT", "nodes/pve1/qemu/300/config", {"delete": "hostpci0", "tags": "by-hand"})

    refreshed = bench.project.pulumi("preview", "--refresh", "--diff").output
    assert "hostpci" in refreshed
    assert "by-hand" in refreshed

    bench.campus.api("POST", "nodes/pve1/qemu/300/status/stop")
    bench.wait_until_idle()
    bench.campus.api("DELETE", "nodes/pve1/qemu/300")
    bench.wait_until_idle()
    bench.project.pulumi("refresh", "--yes", "--skip-preview")
    assert bench.preview()["create"] == 1
