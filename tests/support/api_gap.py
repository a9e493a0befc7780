"""How long the API was away: asks its address four times a second until it is told to stop, then tells of the answers.

Run inside the campus's network: `python -m tests.support.api_gap KUBECONFIG URL`; a line on standard input ends it.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import yaml

from ops.clients.kubernetes import Kube
from tests.support.project import Project
from toolchain.environment import PROJECT

PAUSE = 120.0
"""Seconds that the API may not answer without a fault: its address moves when its server restarts.

The goal is ten (docs/operations/upgrade.md has what was measured), and a busy machine is slower.
"""
EVERY = 0.25
PATIENCE = 1.0
"""Seconds after which a request counts as lost."""


@contextmanager
def watched(campus: Project) -> Iterator[dict[str, float]]:
    """Asks the API at its address meanwhile; afterwards what was given holds `answers`, and the longest `gap` in seconds."""
    campus.kubectl("get", "nodes")  # writes the kubeconfig
    site: Any = yaml.safe_load((campus.path / "config/sites/lab.yaml").read_text())
    url = f"https://{site['network']['api-address']}:6443"
    process = subprocess.Popen(
        [*campus.inside(), sys.executable, "-m", "tests.support.api_gap", str(campus.run / "kubeconfig"), url],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, float] = {}
    try:
        yield found
    finally:
        out, _ = process.communicate("enough\n", timeout=300)
    found |= json.loads(out)
    assert found["answers"], "positive control: it was asked, and answered"


def gap(answers: list[float]) -> float:
    """The longest time between two answers, in seconds."""
    return max((later - earlier for earlier, later in pairwise(answers)), default=0.0)


def watch(kube: Kube, stop: threading.Event) -> list[float]:
    """Times at which the API answered that it is ready."""
    kube._http.timeout = httpx.Timeout(PATIENCE)
    answers = []
    while not stop.is_set():
        begun = time.monotonic()
        if kube.ready():
            answers.append(time.monotonic())
        stop.wait(max(0.0, EVERY - (time.monotonic() - begun)))
    return answers


def main(kubeconfig: str, url: str) -> None:
    config = yaml.safe_load(Path(kubeconfig).read_text())
    config["clusters"][0]["cluster"]["server"] = url
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    answers = watch(Kube(yaml.safe_dump(config)), stop)
    sys.stdout.write(json.dumps({"answers": len(answers), "gap": gap(answers)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
