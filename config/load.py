"""Reads everything that the program works from: the stack's configuration, the site file and the files it names.

Nothing else in the program asks Pulumi for its configuration or its stack, or reads a file of the site.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pulumi

from config.hosts import Node
from config.paths import PROJECT
from config.secrets import MissingSecretError, Secrets, load_secrets
from config.site import CA_FILE, OIDC_CA_FILE, STAGES, STORE_CA_FILE, Site
from config.tokens import SETTING, TokenGenerations, TokenGenerationsError, read_generations
from config.validate import SiteError, load_site

__all__ = ["Settings", "load_settings", "load_site"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Input of the program.

    Attributes:
        stack: Name of the stack.
        site: The campus.
        stage: How much of it is in service.
        secrets: The stack's secrets.
        known_ca: SHA-256 of the running cluster's CA (`lyceum:cluster-ca`), set when the first server is replaced.
        out_of_service: Machines that were removed by name (`lyceum:out-of-service`), at every stage.
        restore_from: etcd snapshot that new servers start from (`lyceum:restore-from`), set during a restore.
        files: Contents of the files that the site names and that exist, by setting: `ca-file`.
        generations: Which generation of K3s's tokens is in use (`lyceum:token-generations`).
    """

    stack: str
    site: Site
    stage: str
    secrets: Secrets
    known_ca: str
    out_of_service: frozenset[str] = frozenset()
    restore_from: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    generations: TokenGenerations = field(default_factory=TokenGenerations)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Machines that should exist."""
        return tuple(node for node in self.site.in_service(self.stage) if node.name not in self.out_of_service)


def load_settings() -> Settings:
    """Reads the stack's `lyceum:site` and `lyceum:stage`, the site's file, and the secrets.

    Raises:
        pulumi.RunError: a setting is missing or invalid; the engine shows the text without a traceback.
    """
    config = pulumi.Config("lyceum")
    stage = config.require("stage")
    if stage not in STAGES:
        raise pulumi.RunError(f"lyceum:stage `{stage}` is not one of {', '.join(STAGES)}")
    try:
        site = load_site(config.require("site"))
        secrets = load_secrets(config, site)
        generations = read_generations(config.get_object(SETTING))
    except (SiteError, MissingSecretError, TokenGenerationsError) as error:
        raise pulumi.RunError(str(error)) from None
    return Settings(
        stack=pulumi.get_stack(),
        site=site,
        stage=stage,
        secrets=secrets,
        known_ca=config.get("cluster-ca") or "",
        out_of_service=frozenset(config.get_object("out-of-service") or ()),
        restore_from=Path(file) if (file := config.get("restore-from")) else None,
        files=read_named_files(site),
        generations=generations,
    )


def read_named_files(site: Site, directory: Path = PROJECT) -> dict[str, str]:
    """Contents of the CA files that a site names, by setting; a file that does not exist is left out."""
    store, provider = site.platform.backup.s3, site.identity.oidc
    named = {
        CA_FILE: site.ca_file,
        STORE_CA_FILE: store.ca_file if store else None,
        OIDC_CA_FILE: provider.ca_file if provider else None,
    }
    paths = {setting: directory / file for setting, file in named.items() if file}
    return {setting: path.read_text() for setting, path in paths.items() if path.exists()}
