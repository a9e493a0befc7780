"""Draws the pictures of the README from a run: `python -m docs.pictures TERMINAL_CAPTURE`, while the demo is up.

The capture is text with ANSI colours, from `tmux capture-pane -e -p`. The graph needs graphviz (`dot`, `tred`).
"""

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from config.paths import PROJECT
from config.resource_names import CLUSTER_TYPES, Part, resource_name
from ops.engine.engine import Engine
from ops.engine.pulumi_state import Resource
from ops.engine.stack import Stack

IMAGES = PROJECT / "docs" / "images"
NOISE = re.compile(r"pulumi:providers:|pulumi:pulumi:Stack")
WIDTH = 110


def draw_terminal(capture: Path) -> None:
    """Writes a captured terminal screen as SVG."""
    console = Console(record=True, width=WIDTH, file=Path("/dev/null").open("w"))  # noqa: SIM115 - until the process ends
    for line in capture.read_text().rstrip().splitlines():
        console.print(Text.from_ansi(line), no_wrap=True)
    console.save_svg(str(IMAGES / "demo.svg"), title="make demo")


def draw_graph(stack: str) -> None:
    """Writes the components of a stack and their dependencies as SVG."""
    state = Engine(Stack(stack)).export()
    resources = {one.urn: one for one in state.resources if not NOISE.search(one.type)}
    lines = [
        "digraph lyceum {",
        "rankdir=LR; ranksep=1.2;",
        'node [shape=box style="rounded,filled" fontname="sans-serif"];',
    ]
    groups: dict[str, list[Resource]] = {}
    for one in resources.values():
        if not one.type.startswith("lyceum:"):
            groups.setdefault(one.record.get("parent", ""), []).append(one)
    for number, (parent, members) in enumerate(groups.items()):
        title = resources[parent].name if parent in resources else "stack"
        lines.append(
            f'subgraph cluster_{number} {{ label="{title}" fontname="sans-serif" style="rounded" color="#888888";'
        )
        lines += [f'"{one.urn}" [label="{one.name}" fillcolor="#e8f0fe"];' for one in members]
        lines.append("}")
    through_kubeconfig = [one.urn for one in resources.values() if one.name == resource_name("k3s", Part.MEMBERS)]
    for one in resources.values():
        needs = one.dependencies or (through_kubeconfig if one.type.startswith(CLUSTER_TYPES) else ())
        for needed in needs:
            if needed in resources and not resources[needed].type.startswith("lyceum:"):
                lines.append(f'"{needed}" -> "{one.urn}";')
    lines.append("}")
    source = subprocess.run(["tred"], input="\n".join(lines), capture_output=True, text=True, check=True).stdout
    subprocess.run(["dot", "-Tsvg", "-o", IMAGES / "graph.svg"], input=source, text=True, check=True)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_terminal(Path(sys.argv[1]))
    draw_graph("dev")
