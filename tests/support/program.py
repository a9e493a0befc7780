"""The whole program, run without an engine for a site at a stage; every secret in it is a text that must not leak."""

import contextlib
import os
import runpy
import tempfile
from collections.abc import Mapping
from functools import cache

import yaml

from config.key_derivation import derive_password, snapshot_private_key_pem, ssh_private_key_pem
from config.layers import LAYERS
from config.load import load_site
from config.paths import PROJECT, SITES
from config.required_secrets import BY_SETTING
from config.site import STAGES
from tests.support.mocks import Graph, Registered, build

PURPOSES = ("k3s-token", "k3s-agent-token", *(purpose for record in LAYERS for purpose in record.derived_secrets))
"""What secrets are derived for."""
ALL_SITES = tuple(sorted(path.stem for path in SITES.glob("*.yaml")))


@cache
def stages(site: str) -> list[str]:
    """Stages of a site at which machines are added; the others are the same program (a test holds that)."""
    campus = load_site(site)
    first = {len(campus.in_service(stage)): stage for stage in reversed(STAGES)}
    return [stage for stage in STAGES if stage in first.values()]


EVERY = [(site, stage) for site in ALL_SITES for stage in stages(site)]
"""Every site at every stage that differs from the one before."""
STACKS = ("dev", "prod")

SEED = "5eed" * 16
PROXMOX_TOKEN = "lyceum@pve!lyceum=0badc0de-0000-4000-8000-000000000000"
ADMIN_KEY = "the-administrators-client-key"
CA_HASH = "ca" * 32
GIVEN = {
    "lyceum:seed": SEED,
    "lyceum:proxmox-token": PROXMOX_TOKEN,
    **{f"lyceum:{need.name}": f"the-secret-{need.name}" for need in BY_SETTING},
}
"""Every secret that any site may be given."""
SENTINELS = (
    *GIVEN.values(),
    ADMIN_KEY,
    ssh_private_key_pem(SEED).splitlines()[1],
    snapshot_private_key_pem(SEED).splitlines()[1],
    *(derive_password(SEED, purpose) for purpose in PURPOSES),
)
"""What must never be readable: the given secrets, what is derived from them, and what the cluster answers."""


def answers(one: Registered) -> Mapping[str, str]:
    """What the machines and Proxmox would answer."""
    if one.type == "command:remote:Command":
        return {"stdout": f"{CA_HASH}\nserver: https://127.0.0.1:6443\nclient-key: {ADMIN_KEY}\n"}
    if one.type == "command:local:Command":
        return {"stdout": f"answer-to-{one.name}"}
    return {}


@cache
def program(site: str, stage: str, *settings: tuple[str, str], preview: bool = False, secrets: bool = True) -> Graph:
    """What `__main__.py` registers; run in an empty directory, so that no file of a running lab is found.

    Args:
        site: Name of the site.
        stage: How much of it is in service.
        settings: Further configuration of the stack, as key and value.
        preview: Whether outputs stay unknown.
        secrets: Whether the stack has its secrets.
    """
    with tempfile.TemporaryDirectory() as nothing, contextlib.chdir(nothing):
        return build(
            lambda: runpy.run_path(os.fspath(PROJECT / "__main__.py")),
            config={"lyceum:site": site, "lyceum:stage": stage, **dict(settings)},
            secrets=GIVEN if secrets else {},
            answers=answers,
            preview=preview,
        )


def stack(name: str) -> tuple[str, str]:
    """Site and stage that Pulumi.<name>.yaml says."""
    config = yaml.safe_load((PROJECT / f"Pulumi.{name}.yaml").read_text())["config"]
    return config["lyceum:site"], config["lyceum:stage"]
