"""The script that waits for an admission webhook, run by bash; kubectl is a script that answers what a list says."""

import subprocess
from pathlib import Path

import pytest

from components.cluster.webhooks import webhook_script

REFUSED = (
    'Error from server (InternalError): error when creating "STDIN": Internal error occurred: failed calling webhook '
    '"ipaddresspoolvalidationwebhook.metallb.io": failed to call webhook: Post "https://metallb-webhook-service.'
    'metallb-system.svc:443/validate?timeout=10s": dial tcp 10.42.3.128:9443: connect: connection refused'
)
"""As a real API server answers (MetalLB 0.16.1, the pool right after the release)."""
UNKNOWN = 'error: resource mapping not found for name: "x": no matches for kind "IPAddressPool" in version "metallb.io"'
CREATED = "ipaddresspool.metallb.io/webhook-check created (server dry run)"
POOL = {"kind": "IPAddressPool", "metadata": {"name": "webhook-check"}, "spec": {"note": "it's quoted"}}

KUBECTL = """#!/bin/bash
cat >>{log}
printf '\\n%s\\n' "$*" >>{log}
line=$(head -n 1 {answers})
[[ $(wc -l <{answers}) == 1 ]] || sed -i 1d {answers}
echo "${{line#* }}"
exit "${{line%% *}}"
"""


def run(directory: Path, *answers: str, seconds: int = 180) -> tuple[subprocess.CompletedProcess[str], str]:
    """The script's result, and what kubectl was asked; an answer is `<exit code> <text>`, the last one stays."""
    (directory / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    log = directory / "log"
    kubectl = directory / "k3s"
    kubectl.write_text(KUBECTL.format(log=log, answers=directory / "answers"))
    kubectl.chmod(0o755)
    script = webhook_script("metallb", "10.9.0.30", POOL).replace("/usr/local/bin/k3s", str(kubectl))
    script = script.replace("SECONDS > 180", f"SECONDS > {seconds}").replace("sleep 1\n", "sleep 0.01\n")
    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, check=False, timeout=60)
    return done, log.read_text()


def test_it_waits_while_nobody_listens_and_while_the_kind_is_not_served(tmp_path: Path) -> None:
    done, asked = run(tmp_path, f"1 {UNKNOWN}", f"1 {REFUSED}", f"1 {REFUSED}", f"0 {CREATED}")

    assert done.returncode == 0
    assert asked.count("--dry-run=server") == 4


@pytest.mark.parametrize(
    "answer",
    [
        'Error from server (Forbidden): admission webhook "x" denied the request: CIDR "10.9.0.50/29" overlaps',
        'Error from server (AlreadyExists): error when creating "STDIN": ipaddresspools "x" already exists',
        'The IPAddressPool "x" is invalid: spec.addresses: Required value',
    ],
)
def test_a_refusal_is_an_answer(tmp_path: Path, answer: str) -> None:
    """Whether the sample is good is not the question."""
    done, asked = run(tmp_path, f"1 {answer}")

    assert (done.returncode, asked.count("--dry-run=server")) == (0, 1)


def test_it_gives_up_after_its_bound_and_says_what_the_server_said(tmp_path: Path) -> None:
    done, _ = run(tmp_path, f"1 {REFUSED}", seconds=0)

    assert done.returncode == 1
    assert "the admission webhook of metallb does not answer after" in done.stderr
    assert "connection refused" in done.stderr


def test_it_offers_the_object_to_the_address_that_the_engine_uses(tmp_path: Path) -> None:
    """Each API server finds a webhook by itself, so another one's answer would not count."""
    _, asked = run(tmp_path, f"0 {CREATED}")

    assert "--server https://10.9.0.30:6443" in asked
    assert "it's quoted" in asked
