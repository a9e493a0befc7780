"""`python -m bench.bootstrap [N]`: all contenders on the same N hosts (40), first run and rerun; then one node more.

Prints a table, and writes bench/results/bootstrap.json and bootstrap.md. Ansible takes part where BENCH_ANSIBLE or PATH
names `ansible-playbook`; it is a measuring tool and no dependency of anything.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from bench.bootstrap.campus import Hosts, hosts
from bench.bootstrap.contenders import Ansible, Floor, Ours, ansible_binary, reset
from bench.bootstrap.site import SERVERS

RESULTS = Path(__file__).parents[1] / "results"


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


def side_by_side(count: int) -> dict[str, Any]:
    """Every contender on the same hosts: first run, rerun."""
    found: dict[str, Any] = {}
    with hosts(count) as made:
        contenders: list[Contender] = [Floor(made), Ours(made)]
        if binary := ansible_binary():
            contenders.append(Ansible(made, binary))
        for contender in contenders:
            found[contender.name] = {"first": measured(made, contender), "rerun": measured(made, contender)}
            reset(made)
            say(contender.name, found[contender.name])
    return found


def one_more(count: int) -> dict[str, float]:
    """What the last of `count` hosts costs when all others are there already."""
    with hosts(count) as made:
        ours = Ours(made)
        ours.run(count - SERVERS - 1)
        return measured(made, ours, count - SERVERS)


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


def markdown(result: dict[str, Any]) -> str:
    """The same for people; bars are one `#` a second, at most sixty."""
    lines = [f"# Bootstrap of {result['hosts']} hosts, K3s's own time left out", "", result["where"], ""]
    lines += ["| contender | run | wall s | controller CPU s | SSH connections | |", "|---|---|---|---|---|---|"]
    for name, runs in result["contenders"].items():
        for kind, run in runs.items():
            bar = "#" * min(60, round(run["wall_s"]))
            lines.append(
                f"| {name} | {kind} | {run['wall_s']} | {run['controller_cpu_s']} | {run['connections']} | `{bar}` |"
            )
    lines += ["", *(f"- {name}: {value}" for name, value in result["ratios"].items())]
    lines += [f"- one node more, to {key}: {run['wall_s']} s" for key, run in result["one more"].items()]
    return "\n".join(lines) + "\n"


def main(count: int) -> None:
    """Measures, shows, writes."""
    found = side_by_side(count)
    more = {str(size - 1): one_more(size) for size in (SERVERS + 2, count)}
    result = {
        "hosts": count,
        "where": f"{os.cpu_count()} cores shared by hosts and controller, load {os.getloadavg()[0]:.1f} at the end; one run each.",
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
