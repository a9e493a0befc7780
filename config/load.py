"""Reads a site file, and the stack's configuration; nothing else touches `pulumi.Config`."""

from dataclasses import dataclass

import pulumi

from config.check import PROJECT, SITES, SiteError, check
from config.secrets import Secrets, load_secrets
from config.site import STAGES, Site

__all__ = ["PROJECT", "SITES", "Settings", "load", "load_site"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the program works from.

    Attributes:
        site: The campus.
        stage: How much of it is in service.
        secrets: The stack's secrets.
        known_ca: SHA-256 of the running cluster's CA (`lyceum:cluster-ca`), set when the first server was replaced.
    """

    site: Site
    stage: str
    secrets: Secrets
    known_ca: str


def load_site(name: str) -> Site:
    """Reads and checks config/sites/<name>.yaml.

    Raises:
        SiteError: the file has mistakes; the text tells all of them.
    """
    checked = check(SITES / f"{name}.yaml")
    if checked.site is None:
        raise SiteError(checked.problems)
    return checked.site


def load() -> Settings:
    """Reads the stack's `lyceum:site` and `lyceum:stage`, the site's file, and the secrets."""
    config = pulumi.Config("lyceum")
    site = load_site(config.require("site"))
    stage = config.require("stage")
    if stage not in STAGES:
        raise ValueError(f"lyceum:stage `{stage}` is not one of {', '.join(STAGES)}")
    return Settings(site=site, stage=stage, secrets=load_secrets(config, site), known_ca=config.get("cluster-ca") or "")
