"""How a round of package upgrades is shown, and how its end is told to whoever runs it from a script."""

import pytest

from config.errors import LyceumError
from ops.upgrade.node_upgrade import Round
from ops.upgrade.os_packages import Packages, Pending
from ops.upgrade.os_upgrade import _tell, row
from ops.upgrade.plan import Member, Version

GPU = Member("gpu-1", Version.parse("v1.36.4+k3s1"), server=False, well=True, gpus=2, work=1)
SERVER = Member("server-1", GPU.version, server=True, well=True)


def pending(*names: str) -> Packages:
    return Packages(tuple(Pending(name, "1", "2", security=name == "libc6") for name in names))


def test_a_line_names_the_first_packages_and_counts_the_rest() -> None:
    assert row(GPU, pending("a", "b", "libc6", "d"), marked=False) == [
        "gpu-1", "4: a, b, libc6 …", "1", "if asked", "1 pods, 2 GPUs",
    ]  # fmt: skip


def test_a_line_says_that_a_turn_has_begun_and_why_a_reboot_is_due() -> None:
    found = row(SERVER, Packages(reboot=("libc6",)), marked=True)

    assert found == ["server-1 (server), begun", "-", "-", "for libc6", ""]
    assert row(SERVER, pending("linux-image-amd64"), marked=False)[3] == "yes"


@pytest.mark.parametrize(
    ("done", "code", "words"),
    [
        (Round(lambda: False, stuck=["gpu-1: broken"], waiting=["gpu-2"]), 1, "gpu-1: broken\nnot begun: gpu-2"),
        (Round(lambda: True, waiting=["gpu-2"]), 1, "paused before gpu-2; ./lyceum upgrade apply dev --os goes on"),
        (Round(lambda: False, left=["gpu-1 works on"]), 3, r"1 node\(s\) were left as they were"),
    ],
)
def test_an_end_that_is_not_all_well_has_an_exit_code_and_says_what_next(done: Round, code: int, words: str) -> None:
    with pytest.raises(LyceumError, match=words) as ended:
        _tell("dev", done)

    assert ended.value.exit_code == code


def test_an_end_that_is_well_says_nothing() -> None:
    _tell("dev", Round(lambda: False))
