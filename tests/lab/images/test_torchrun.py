"""The torch runtime's stand-in: workers get their ranks, find each other, and end together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab.images import torchrun
from lab.images.torchrun import count_workers, worker_environments

PROGRAM = Path(torchrun.__file__)
SUM = PROGRAM.with_name("sum_ranks.py")


def start(rank: int, port: int, *words: str | Path) -> subprocess.Popen[str]:
    settings = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": str(rank), "PET_MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, PROGRAM, *words], env=os.environ | settings, stdout=subprocess.PIPE, text=True
    )


def test_ranks_are_counted_over_all_nodes() -> None:
    second = worker_environments(nodes=2, workers=2, node_rank=1, address="job-0", port="29400")
    assert [one["RANK"] for one in second] == ["2", "3"]
    assert [one["LOCAL_RANK"] for one in second] == ["0", "1"]
    assert {one["WORLD_SIZE"] for one in second} == {"4"}
    assert {(one["MASTER_ADDR"], one["MASTER_PORT"]) for one in second} == {("job-0", "29400")}


@pytest.mark.parametrize(("wanted", "workers"), [("4", 4), ("auto", 1), ("cpu", 1), ("gpu", 1)])
def test_a_card_that_computes_nothing_gets_one_worker(wanted: str, workers: int) -> None:
    assert count_workers(wanted) == workers


def test_workers_of_two_nodes_add_up_their_numbers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes = [start(rank, port, SUM) for rank in (1, 0)]
    output = "".join(node.communicate(timeout=60)[0] for node in nodes)
    assert [node.returncode for node in nodes] == [0, 0]
    assert sorted(line.split(" on ")[0] for line in output.splitlines()) == [f"rank {rank} of 4" for rank in range(4)]
    assert output.count("sum 10") == 4


def test_a_worker_that_fails_ends_the_others(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text("import os, sys, time\nsys.exit(3) if os.environ['LOCAL_RANK'] == '1' else time.sleep(600)\n")
    node = start(0, 1, program)
    assert node.wait(timeout=60) == 3
