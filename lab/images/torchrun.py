"""Starts the workers of a distributed job on this node: the part of `torchrun` that Kubeflow Trainer's jobs use.

    torchrun [--nnodes N] [--nproc-per-node N] [--node-rank R] [--master-addr A] [--master-port P] [-m] PROGRAM [ARG...]

Options default to PET_NNODES, PET_NPROC_PER_NODE and so on, which Trainer sets in its pods. Each worker gets RANK,
LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. There is no PyTorch in the image: `import torch` fails, and a
program brings its own communication, as `sum_ranks` does.
"""

import argparse
import os
import subprocess
import sys
import time

DEFAULT_PORT = "29400"


def worker_environments(nodes: int, workers: int, node_rank: int, address: str, port: str) -> list[dict[str, str]]:
    """What each worker of this node is told; pure."""
    return [
        {
            "RANK": str(node_rank * workers + local),
            "LOCAL_RANK": str(local),
            "GROUP_RANK": str(node_rank),
            "WORLD_SIZE": str(nodes * workers),
            "LOCAL_WORLD_SIZE": str(workers),
            "MASTER_ADDR": address,
            "MASTER_PORT": port,
        }
        for local in range(workers)
    ]


def count_workers(wanted: str) -> int:
    """A number, or `auto`, `cpu` and `gpu`: one worker, because the lab's cards compute nothing."""
    return int(wanted) if wanted.isdigit() else 1


def run_workers(command: list[str], environments: list[dict[str, str]]) -> int:
    """Runs all workers; the first that fails ends the others. Returns its exit code, or 0."""
    running = [subprocess.Popen(command, env=os.environ | environment) for environment in environments]
    code = 0
    while running and not code:
        time.sleep(0.05)
        codes = [worker.poll() for worker in running]
        code = next((found for found in codes if found), 0)
        running = [worker for worker, found in zip(running, codes, strict=True) if found is None]
    for worker in running:
        worker.terminate()
    return code


def main(words: list[str]) -> int:
    """Returns the exit code of the job on this node."""
    parser = argparse.ArgumentParser(prog="torchrun", description=__doc__, allow_abbrev=False)
    for option, default in (
        ("nnodes", "1"),
        ("nproc-per-node", "1"),
        ("node-rank", "0"),
        ("master-port", DEFAULT_PORT),
    ):
        name = option.replace("-", "_")
        parser.add_argument(f"--{option}", f"--{name}", default=os.environ.get(f"PET_{name.upper()}", default))
    parser.add_argument("--master-addr", "--master_addr", default=os.environ.get("PET_MASTER_ADDR", "127.0.0.1"))
    parser.add_argument("-m", "--module", action="store_true")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    nodes = int(options.nnodes.partition(":")[0])
    workers = count_workers(options.nproc_per_node)
    environments = worker_environments(nodes, workers, int(options.node_rank), options.master_addr, options.master_port)
    command = [sys.executable, "-u", *(["-m"] if options.module else []), options.program, *options.arguments]
    return run_workers(command, environments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
