"""`python -m bench.bootstrap [N]`: all contenders on the same N machines (40), first run and rerun; then an added node.

Prints a table, and writes bench/results/bootstrap.json and bootstrap.md. Ansible takes part where BENCH_ANSIBLE or PATH
names `ansible-playbook`; it is not a dependency of Lyceum.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.bootstrap.campus import Machines, boot_machines
from bench.bootstrap.contenders import Ansible, Floor, Lyceum, find_ansible, uninstall
from bench.bootstrap.site import SERVERS

RESULTS = Path(__file__).parents[1] / "results"
RUNS = 3
"""Runs of everything but Ansible; the median counts."""


class Contender(Protocol):
    """A way to install K3s on machines."""

    name: str

    def run(self, agents: int | None = None) -> None:
        """Installs K3s on all machines, or on the servers and so many agents."""


def measure_run(machines: Machines, contender: Contender, agents: int | None = None) -> dict[str, float]:
    """Wall seconds, the controller's CPU seconds and the SSH connections of one run."""
    logins, before, begun = machines.count_logins(), os.times(), time.monotonic()
    contender.run(agents)
    wall, after = time.monotonic() - begun, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "wall_s": round(wall, 2),
        "controller_cpu_s": round(spent, 2),
        "connections": machines.count_logins() - logins,
    }


def median_run(runs: list[dict[str, float]]) -> dict[str, float]:
    """The run with the median wall time, and the shortest and longest wall time."""
    walls = sorted(run["wall_s"] for run in runs)
    middle = next(run for run in runs if run["wall_s"] == walls[len(walls) // 2])
    return middle | {"runs": len(runs), "shortest_s": walls[0], "longest_s": walls[-1]}


def compare_contenders(count: int) -> dict[str, Any]:
    """Measures every contender on the same machines: first run and rerun, the median of RUNS; Ansible once."""
    found: dict[str, Any] = {}
    with boot_machines(count) as machines:
        makers: list[tuple[Callable[[], Contender], int]] = [
            (lambda: Floor(machines), RUNS),
            (lambda: Lyceum(machines), RUNS),
        ]
        if binary := find_ansible():
            makers.append((lambda: Ansible(machines, binary), 1))
        for maker, runs in makers:
            firsts, reruns, name = [], [], ""
            for _ in range(runs):
                contender = maker()
                name = contender.name
                firsts.append(measure_run(machines, contender))
                reruns.append(measure_run(machines, contender))
                uninstall(machines)
            found[name] = {"first": median_run(firsts), "rerun": median_run(reruns)}
            print_progress(name, found[name])
    return found


def measure_added_node(count: int) -> dict[str, float]:
    """Cost of an added node: the median of the last RUNS of `count` machines, added one at a time."""
    with boot_machines(count) as machines:
        lyceum = Lyceum(machines)
        agents = count - SERVERS
        lyceum.run(agents - RUNS)
        return median_run([measure_run(machines, lyceum, agents - left) for left in reversed(range(RUNS))])


def print_progress(name: str, found: object) -> None:
    """Prints a contender's result as soon as it is known."""
    sys.stdout.write(f"{name}: {json.dumps(found)}\n")
    sys.stdout.flush()


def compute_ratios(found: dict[str, Any]) -> dict[str, float]:
    """Lyceum's time relative to the floor's, and Ansible's relative to Lyceum's."""
    lyceum = found["lyceum"]["first"]["wall_s"]
    result = {"Lyceum's time divided by the floor's": round(lyceum / found["floor"]["first"]["wall_s"], 2)}
    if "ansible" in found:
        result["Ansible's time divided by Lyceum's"] = round(found["ansible"]["first"]["wall_s"] / lyceum, 2)
    return result


def format_wall_time(run: dict[str, float]) -> str:
    """The median, with the shortest and longest of several runs."""
    return f"{run['wall_s']} ({run['shortest_s']} to {run['longest_s']})" if run["runs"] > 1 else f"{run['wall_s']}"


def render_markdown(result: dict[str, Any]) -> str:
    """The result as Markdown; bars have one `#` for each second, at most sixty."""
    lines = [f"# Bootstrap of {result['hosts']} machines, without K3s's own time", "", result["where"], ""]
    lines += [
        "| contender | run | wall s (shortest to longest) | controller CPU s | SSH connections | |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in result["contenders"].items():
        for kind, run in runs.items():
            bar = "#" * min(60, round(run["wall_s"]))
            lines.append(
                f"| {name} | {kind} | {format_wall_time(run)} | {run['controller_cpu_s']} | {run['connections']} | `{bar}` |"
            )
    lines += ["", *(f"- {name}: {value}" for name, value in result["ratios"].items())]
    lines += [
        f"- one node added to a cluster of {key}: {format_wall_time(run)} s" for key, run in result["one more"].items()
    ]
    lines += ["", "Tasks of Ansible and steps of Lyceum side by side: [bootstrap-steps.md](bootstrap-steps.md)."]
    return "\n".join(lines) + "\n"


def main(count: int) -> None:
    """Measures, prints and writes the results."""
    found = compare_contenders(count)
    more = {str(size - 1): measure_added_node(size) for size in (SERVERS + 1 + RUNS, count)}
    result = {
        "hosts": count,
        "where": f"{os.cpu_count()} cores shared by machines and controller, load {os.getloadavg()[0]:.1f} at the end; Ansible once, all others the median of {RUNS}.",
        "contenders": found,
        "ratios": compute_ratios(found),
        "one more": more,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bootstrap.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "bootstrap.md").write_text(render_markdown(result))
    sys.stdout.write(render_markdown(result))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
