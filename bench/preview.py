"""`python -m bench.preview`: Lyceum's share of a preview: loading, validating and building, beside the engine's whole preview.

Prints a table and writes bench/results/preview.md. Times are CPU seconds of one process each, so other load has little
effect; ratios are from the same run.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from config.paths import PROJECT
from ops.engine.engine import Engine
from ops.engine.stack import Stack

RESULTS = Path(__file__).parent / "results"
SITES = {"dev": ("lab", "alpha"), "prod": ("forty-workstations", "all")}
IMPORTS = "import pulumi, pulumi_command, pulumi_kubernetes, pulumi_proxmoxve.provider"
CHECK = "from config.load import load_site; load_site({site!r})"
BUILD = "from tests.support.program import program; program({site!r}, {stage!r}, preview=True)"


def measure_cpu(code: str) -> float:
    """CPU seconds of a new Python process that runs the code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # PYTHONPATH, because building happens in another directory than this.
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_preview(stack: str) -> float:
    """Wall seconds of the engine's preview of a stack."""
    engine = Engine(Stack(stack))
    engine.init()
    start = time.monotonic()
    engine.query("preview")
    return time.monotonic() - start


def measure_stack(stack: str) -> list[str]:
    """The table's row of a stack."""
    site, stage = SITES[stack]
    imports = measure_cpu(IMPORTS)
    check = measure_cpu(CHECK.format(site=site)) - measure_cpu("import config.load")
    build = measure_cpu(BUILD.format(site=site, stage=stage)) - imports
    total = measure_preview(stack)
    cells = (imports, check, build, total)
    return [f"{site}, {stage}", *(f"{cell:.2f} s" for cell in cells), f"{check / total:.1%}", f"{build / total:.0%}"]


def main() -> None:
    """Measures both stacks."""
    head = [
        "site, stage",
        "imports of the SDKs",
        "load and validate",
        "build",
        "whole preview",
        "validate / preview",
        "build / preview",
    ]
    rows = [head, ["---"] * len(head), *(measure_stack(stack) for stack in SITES)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "preview.md").write_text(
        f"# Lyceum's share of a preview\n\nCPU seconds, the whole preview in wall seconds.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
