"""`python -m bench.start`: start-up time of the `lyceum` command. CPU seconds, the minimum of several runs."""

import os
import resource
import subprocess
import sys

from config.paths import PROJECT

RUNS = 5
COMMANDS = (["--help"], ["validate", "lab"], ["show", "lab"], ["status", "dev"])
"""Without a running campus `status` ends at once."""


def measure_cpu(command: list[str]) -> float:
    """User and system seconds of one run with its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"LYCEUM_LAB": "no-such-lab"}
    subprocess.run(["./lyceum", *command], cwd=PROJECT, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    for command in COMMANDS:
        sys.stdout.write(f"{' '.join(command)}: {min(measure_cpu(command) for _ in range(RUNS)):.2f} s\n")
