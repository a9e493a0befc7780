"""How long the `lyceum` command takes to start: `python -m bench.start`. CPU time, the least of several runs."""

import os
import resource
import subprocess
import sys

from config.paths import PROJECT

RUNS = 5
COMMANDS = (["--help"], ["validate", "lab"], ["show", "lab"], ["status", "dev"])
"""Without a campus, `status` ends once it has found that out."""


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one run, its own processes together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"LYCEUM_LAB": "no-such-lab"}
    subprocess.run(["./lyceum", *command], cwd=PROJECT, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    for command in COMMANDS:
        sys.stdout.write(f"{' '.join(command)}: {min(cpu_seconds(command) for _ in range(RUNS)):.2f} s\n")
