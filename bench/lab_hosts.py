"""Speed and memory of the lab's VMs: `python -m bench.lab_hosts [N]`, as root or where user namespaces are allowed.

Boots N VMs at once through the hypervisor, without the Proxmox API, logs in to all of them at once, measures memory as
proportional set size, and removes everything. Prints one JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from lab import campus
from lab.spec import CampusRequest, dump_request
from tests.lab.host.conftest import Lab
from tests.lab.host.vms import CAMPUS

NAME = f"bench-{os.getpid()}"


def measure_seconds(work: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    begun = time.monotonic()
    work()
    return round(time.monotonic() - begun, 2)


def cpu_seconds() -> float:
    """CPU seconds of this machine since its boot, all processes together."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure_machines(count: int) -> dict[str, float | int]:
    """Boots `count` VMs, logs in to each, and removes them."""
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(count) as pool:
        up = measure_seconds(
            lambda: campus.up(dump_request(CampusRequest(replace(CAMPUS, name=NAME))), NAME, report=lambda _line: None)
        )
        lab = Lab(NAME, Path(home))
        spent = cpu_seconds()
        boot = measure_seconds(lambda: list(pool.map(lab.boot, range(1, count + 1))))
        spent = cpu_seconds() - spent
        machines = lab.ask("machines")

        def login(number: int) -> None:
            command = ["ssh", "-F", "none", "-i", f"{home}/id", "-o", "StrictHostKeyChecking=no"]
            command += [
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
                f"lyceum@10.21.1.{number}",
                "true",
            ]
            subprocess.run([*campus.enter_command(NAME), *command], check=True)

        logins = measure_seconds(lambda: list(pool.map(login, range(1, count + 1))))
        return {
            "vms": count,
            "campus_up_s": up,
            "all_booted_s": boot,
            "machine_cpu_per_vm_ms": round(spent / count * 1000),
            "all_logged_in_s": logins,
            "memory_per_vm_mib": round(sum(machine["memory_mib"] for machine in machines) / count, 1),
            "down_s": measure_seconds(lambda: campus.down(NAME)),
        }


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(measure_machines(int(sys.argv[1]) if len(sys.argv) > 1 else 40)) + "\n")
    finally:
        campus.down(NAME)
