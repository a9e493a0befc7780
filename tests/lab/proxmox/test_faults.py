"""Injected faults: each kind, from the nth call on, a given number of times; and the interface that sets them."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lab.proxmox.faults import Fault
from lab.proxmox.tasks import Timing
from tests.lab.proxmox.campus import Campus, Refused, make_spec, running
from tests.lab.proxmox.served import ServedCampus

pytestmark = pytest.mark.anyio

QEMU = "nodes/pve1/qemu"


async def test_a_status_fault_refuses_the_nth_calls_and_changes_nothing(campus: Campus) -> None:
    campus.px.faults.rules.append(
        Fault(route="POST nodes/.*/qemu$", kind="status", nth=2, count=2, message="can't lock file '/x' - got timeout")
    )

    await campus.token.vm(100)
    for _attempt in range(2):
        with pytest.raises(Refused, match="500 can't lock file '/x' - got timeout"):
            await campus.token.vm(101)
    assert list(campus.px.cluster.state.vms) == [100]
    await campus.token.vm(101)

    (rule,) = campus.px.faults.rules
    assert (rule.seen, rule.remaining) == (3, 0), "a rule that is used up no longer counts"


async def test_a_failing_task_leaves_a_creation_undone(campus: Campus) -> None:
    campus.px.faults.rules.append(
        Fault(route="POST nodes/.*/qemu$", kind="task", message="lvcreate failed: exit code 5")
    )

    status = await campus.token.task("POST", QEMU, vmid=100, pool="lyceum")

    assert status == "lvcreate failed: exit code 5"
    assert campus.px.cluster.state.vms == {}


async def test_a_task_may_fail_after_its_work_is_done(campus: Campus) -> None:
    """P2: the number is taken and a machine is there, though the task says it failed."""
    campus.px.faults.rules.append(Fault(route="POST nodes/.*/qemu$", kind="task", message="got interrupted", done=True))

    assert await campus.token.task("POST", QEMU, vmid=100, pool="lyceum") == "got interrupted"
    assert list(campus.px.cluster.state.vms) == [100]


async def test_the_log_of_a_failed_task_ends_with_its_reason(campus: Campus) -> None:
    campus.px.faults.rules.append(Fault(route="status/start", kind="task", message="no space left"))
    await campus.token.vm()
    upid = await campus.token.post(f"{QEMU}/100/status/start")
    await campus.px.cluster.tasks.wait_until_idle()

    log = await campus.token.get(f"nodes/pve1/tasks/{upid}/log")

    assert log[-1]["t"] == "TASK ERROR: no space left"


async def test_without_quorum_every_change_is_refused_and_reading_works(campus: Campus) -> None:
    campus.px.faults.conditions.quorate = False

    with pytest.raises(Refused, match="cluster not ready - no quorum"):
        await campus.token.post(QEMU, vmid=100, pool="lyceum")
    root = await campus.root()
    assert (await root.get("cluster/status"))[0]["quorate"] == 0
    assert await campus.token.get("version")


async def test_a_node_that_is_off_does_not_answer(campus: Campus) -> None:
    campus.px.faults.conditions.offline = {"pve2"}

    with pytest.raises(Refused, match="595 Connection to node 'pve2' failed"):
        await campus.token.get("nodes/pve2/status")
    states = {entry["node"]: entry["status"] for entry in await campus.token.get("nodes")}
    assert states == {"pve1": "online", "pve2": "offline"}


async def test_two_actions_on_one_vm_wait_for_each_other_and_then_give_up(tmp_path: Path) -> None:
    """P1 without any rule: the second one meets the first one's lock."""
    timing = Timing(durations={"qmstart": 0}, lock_timeout=0.05, linger=0)
    async with running(tmp_path, timing=timing) as campus:
        await campus.token.vm()
        async with campus.px.cluster.locks.vm(100):
            with pytest.raises(Refused, match=r"can't lock file '/var/lock/qemu-server/lock-100\.conf' - got timeout"):
                await campus.token.put(f"{QEMU}/100/config", tags="x")
        await campus.token.put(f"{QEMU}/100/config", tags="x")


async def test_a_vm_under_construction_is_locked(campus: Campus) -> None:
    root = await campus.root()
    async with campus.px.cluster.locks.vm(100):  # for as long, its creation cannot end
        upid = await campus.token.post(QEMU, vmid=100, pool="lyceum")
        with pytest.raises(Refused, match=r"VM is locked \(create\)"):
            await root.post(f"{QEMU}/100/status/start")
        status = await campus.token.get(f"nodes/pve1/tasks/{upid}/status")
        assert status["status"] == "running"
        assert "exitstatus" not in status
    await campus.px.cluster.tasks.wait_until_idle()
    status = await campus.token.get(f"nodes/pve1/tasks/{upid}/status")
    assert (status["status"], status["exitstatus"]) == ("stopped", "OK")


async def test_a_task_that_is_interrupted_takes_back_what_it_reserved(tmp_path: Path) -> None:
    """Also before its first step: a campus that ends at that moment must not wait for it for ever."""
    async with running(tmp_path, timing=Timing(durations={"qmcreate": 60}, linger=0)) as campus:
        upid = await campus.token.post(QEMU, vmid=100, pool="lyceum")
        await campus.px.cluster.tasks.close()
        assert (await campus.token.get(f"nodes/pve1/tasks/{upid}/status"))["exitstatus"] == "interrupted by signal"
        assert campus.px.cluster.state.vms == {}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedCampus]:
    campus = ServedCampus(tmp_path, make_spec())
    yield campus
    campus.stop()


def test_a_lost_reply_closes_the_connection_after_the_work_is_done(served: ServedCampus) -> None:
    """P3, over real TLS: the client cannot know that the machine exists."""
    served.px.faults.rules.append(Fault(route="POST nodes/.*/qemu$", kind="drop"))
    trust = ssl.create_default_context(cafile=str(served.ca))
    headers = {"Authorization": f"PVEAPIToken={served.token}"}
    with httpx.Client(base_url=served.endpoint, headers=headers, verify=trust) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.post("/api2/json/nodes/pve1/qemu", data={"vmid": "100", "pool": "lyceum"})
        served.wait_until_idle()
        answer = client.get("/api2/json/nodes/pve1/qemu/100/config")
    assert answer.status_code == 200, "the machine is there"
    assert served.requests()[0]["status"] == 0, "the log tells a lost reply from an answer"


def test_the_api_speaks_tls_1_3_and_nothing_older(served: ServedCampus) -> None:
    newest, older = ssl.create_default_context(cafile=str(served.ca)), ssl.create_default_context(cafile=str(served.ca))
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with httpx.Client(verify=newest) as client:
        assert client.get(f"{served.endpoint}/api2/json/version").status_code == 401, "it is there, and wants a token"
    with httpx.Client(verify=older) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{served.endpoint}/api2/json/version")


async def test_faults_are_set_by_the_handlers_of_the_control_socket(campus: Campus) -> None:
    handlers = campus.px.handlers()
    await handlers["proxmox_fault"](route="start$", kind="status", status=503)
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        await handlers["proxmox_fault"](route="(", kind="status")
    with pytest.raises(ValueError, match=r"quorum\n  Extra inputs are not permitted"):
        await handlers["proxmox_conditions"](quorum=False)
    await handlers["proxmox_conditions"](quorate=False, offline=["pve2"])

    assert [rule.route for rule in campus.px.faults.rules] == ["start$"]
    assert (campus.px.faults.conditions.quorate, campus.px.faults.conditions.offline) == (False, {"pve2"})
    await handlers["proxmox_conditions"](quorate=True, offline=[])
    assert await campus.token.get("nodes/pve2/status"), "quorum and nodes are back"
