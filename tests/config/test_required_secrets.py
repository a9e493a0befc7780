"""Secrets and planned settings: what is demanded is used, and what is not used yet is said to be so."""

import re

import pytest

from config.introspection import field_at
from config.load import load_site
from config.paths import PROJECT
from config.planned import PLANNED, find_planned
from config.required_secrets import required_secrets
from config.site import Site

SOURCES = "\n".join(
    path.read_text() for path in [PROJECT / "__main__.py", *sorted((PROJECT / "components").rglob("*.py"))]
)
SAID_ELSEWHERE = {"power", "mac", "devices", "idle", "queues", "default", "database", "proxy", "versions"}
"""Words that components use for something else."""
BEGUN = {"scratch", "shift"}
"""Settings that a component reads, but that are of no use before another one is built."""


@pytest.mark.parametrize("place", sorted(PLANNED))
def test_a_planned_setting_is_in_the_model(place: str) -> None:
    parts: list[str | int] = []
    for part in place.split("."):
        parts += [part.removesuffix("[]"), 0] if part.endswith("[]") else [part]
    assert field_at(Site, tuple(parts)), f"{place} is no setting"


@pytest.mark.parametrize(
    "place", sorted(place for place in PLANNED if place.split(".")[-1] not in SAID_ELSEWHERE | BEGUN)
)
def test_what_a_component_reads_is_planned_no_longer(place: str) -> None:
    """Whoever builds it takes it out of the list: then its secrets are demanded, and nobody is told that it waits."""
    attribute = place.rsplit(".", maxsplit=1)[-1].replace("-", "_")
    assert not re.search(rf"\.{attribute}\b", SOURCES), f"take {place} out of config/planned.py: a component reads it"


def test_a_place_below_a_planned_setting_is_planned() -> None:
    assert find_planned(("tenants", 3, "quota", "gpus")) == "tenants"
    assert find_planned(("nodes", 1, "shift")) == "nodes[].shift"
    assert find_planned(("shapes", "gpu", "scratch")) == "shapes.<name>.scratch"
    assert find_planned(("shapes", "gpu", "ceph")) is None
    assert find_planned(("nodes", 1, "address")) is None


def test_a_site_needs_the_secrets_of_what_it_sets() -> None:
    lab = [need.name for need in required_secrets(load_site("lab"))]
    assert lab == ["seed", "proxmox-token", "s3-access-key", "s3-secret-key", "oidc-client-secret"]
    assert {need.name for need in required_secrets(load_site("a100-host"))} == {
        "seed",
        "proxmox-token",
        "certificate-key",
        "oidc-client-secret",
        "slack-webhook",
    }


def test_a_secret_that_nothing_uses_yet_is_not_demanded() -> None:
    demanded = {need.name for need in required_secrets(load_site("a100-host")) if need.required_now}
    assert demanded == {"seed", "proxmox-token", "oidc-client-secret"}
