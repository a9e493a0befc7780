"""`python -m bench.bootstrap [N]`: all contenders on the same N hosts (40), first run and rerun; then one node more.

Prints a table, and writes bench/results/bootstrap.json and bootstrap.md. Ansible takes part where BENCH_ANSIBLE or PATH
names `ansible-playbook`; it is a measuring tool and no dependency of anything.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.bootstrap.campus import Hosts, hosts
from bench.bootstrap.contenders import Ansible, Floor, Ours, ansible_binary, reset
from bench.bootstrap.site import SERVERS

RESULTS = Path(__file__).parents[1] / "results"
RUNS = 3
"""Of what is measured more than once."""


class Contender(Protocol):
    """One way to bring K3s to hosts."""

    name: str

    def run(self, agents: int | None = None) -> None:
        """Brings all, or so many agents, to what they should be."""


def measured(made: Hosts, contender: Contender, agents: int | None = None) -> dict[str, float]:
    """Wall time, controller's CPU time and SSH connections of one run."""
    logins, before, begun = made.logins(), os.times(), time.monotonic()
    contender.run(agents)
    wall, after = time.monotonic() - begun, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": round(wall, 2), "controller_cpu_s": round(spent, 2), "connections": made.logins() - logins}


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """The run whose wall time is in the middle, and the shortest and longest."""
    walls = sorted(run["wall_s"] for run in runs)
    middle = next(run for run in runs if run["wall_s"] == walls[len(walls) // 2])
    return middle | {"runs": len(runs), "shortest_s": walls[0], "longest_s": walls[-1]}


def side_by_side(count: int) -> dict[str, Any]:
    """Every contender on the same hosts: first run and rerun, each the median of as many as its patience allows."""
    found: dict[str, Any] = {}
    with hosts(count) as made:
        makers: list[tuple[Callable[[], Contender], int]] = [(lambda: Floor(made), RUNS), (lambda: Ours(made), RUNS)]
        if binary := ansible_binary():
            makers.append((lambda: Ansible(made, binary), 1))
        for maker, runs in makers:
            firsts, reruns, name = [], [], ""
            for _ in range(runs):
                contender = maker()
                name = contender.name
                firsts.append(measured(made, contender))
                reruns.append(measured(made, contender))
                reset(made)
            found[name] = {"first": median(firsts), "rerun": median(reruns)}
            say(name, found[name])
    return found


def one_more(count: int) -> dict[str, float]:
    """What a node more costs: each of the last of `count` hosts, when all before it are there."""
    with hosts(count) as made:
        ours = Ours(made)
        agents = count - SERVERS
        ours.run(agents - RUNS)
        return median([measured(made, ours, agents - left) for left in reversed(range(RUNS))])


def say(name: str, found: object) -> None:
    """Shows progress."""
    sys.stdout.write(f"{name}: {json.dumps(found)}\n")
    sys.stdout.flush()


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """How much slower than the floor, and how much faster than Ansible."""
    ours = found["lyceum"]["first"]["wall_s"]
    result = {"times the floor": round(ours / found["floor"]["first"]["wall_s"], 2)}
    if "ansible" in found:
        result["Ansible's time divided by ours"] = round(found["ansible"]["first"]["wall_s"] / ours, 2)
    return result


def spread(run: dict[str, float]) -> str:
    """The median, with what lies around it where there were several runs."""
    return f"{run['wall_s']} ({run['shortest_s']} to {run['longest_s']})" if run["runs"] > 1 else f"{run['wall_s']}"


def markdown(result: dict[str, Any]) -> str:
    """The same for people; bars are one `#` a second, at most sixty."""
    lines = [f"# Bootstrap of {result['hosts']} hosts, K3s's own time left out", "", result["where"], ""]
    lines += [
        "| contender | run | wall s (shortest to longest) | controller CPU s | SSH connections | |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in result["contenders"].items():
        for kind, run in runs.items():
            bar = "#" * min(60, round(run["wall_s"]))
            lines.append(
                f"| {name} | {kind} | {spread(run)} | {run['controller_cpu_s']} | {run['connections']} | `{bar}` |"
            )
    lines += ["", *(f"- {name}: {value}" for name, value in result["ratios"].items())]
    lines += [f"- one node more, to a cluster of {key}: {spread(run)} s" for key, run in result["one more"].items()]
    lines += ["", "Which task of Ansible is which step of ours: [bootstrap-steps.md](bootstrap-steps.md)."]
    return "\n".join(lines) + "\n"


def main(count: int) -> None:
    """Measures, shows, writes."""
    found = side_by_side(count)
    more = {str(size - 1): one_more(size) for size in (SERVERS + 1 + RUNS, count)}
    result = {
        "hosts": count,
        "where": f"{os.cpu_count()} cores shared by hosts and controller, load {os.getloadavg()[0]:.1f} at the end; Ansible once, all else the median of {RUNS}.",
        "contenders": found,
        "ratios": ratios(found),
        "one more": more,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bootstrap.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "bootstrap.md").write_text(markdown(result))
    sys.stdout.write(markdown(result))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
