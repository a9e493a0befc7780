"""Checks `Pulumi.<stack>.yaml`: a site, a stage and secrets, nothing else."""

from collections.abc import Iterator
from pathlib import Path

from config.finding import Finding, suggest_name
from config.paths import PROJECT, SITES
from config.required_secrets import NAMES
from config.rules.plain_text import plain_text
from config.site import STAGES
from config.tokens import SETTING
from config.validate import locate_findings
from config.yaml_source import Document, UnreadableError, read

TOP = ("config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment")
PLAIN = ("site", "stage", "cluster-ca", "out-of-service", SETTING)
"""Settings of ours that are no secrets."""


def check_stacks(directory: Path = PROJECT) -> list[Finding]:
    """Every stack file of the project."""
    return [finding for path in sorted(directory.glob("Pulumi.*.yaml")) for finding in check_stack(path)]


def check_stack(path: Path) -> list[Finding]:
    """One stack file."""
    try:
        document = read(path)
    except UnreadableError as error:
        return [error.finding(path)]
    return locate_findings(path, document, _findings(document))


def _findings(document: Document) -> Iterator[Finding]:
    for key in document.data:
        if key not in TOP:
            yield Finding((key,), "is no part of a stack file", suggest_name(key, TOP), value=None)
    config = document.data.get("config")
    if not isinstance(config, dict):
        yield Finding(("config",), "is missing", "add `lyceum:site` and `lyceum:stage` below it", value=None)
        return
    secret = {finding.subject for finding in plain_text(document)}
    for key, value in config.items():
        path = ("config", key)
        name = key.removeprefix("lyceum:")
        if not key.startswith("lyceum:"):
            continue
        if name not in {*PLAIN, *NAMES}:
            yield Finding(path, "is no setting here", suggest_name(name, {*PLAIN, *NAMES}), value=None)
        elif (name in NAMES and not (isinstance(value, dict) and "secure" in value)) or path in secret:
            remedy = f"remove it, make a new one, and run `./lyceum secrets set {config.get('lyceum:site')} {name}`"
            yield Finding(path, "holds a secret in plain text", remedy, value=None)
    sites = [path.stem for path in SITES.glob("*.yaml")]
    yield from _choice(config, "lyceum:site", sites)
    yield from _choice(config, "lyceum:stage", list(STAGES))


def _choice(config: dict[str, object], key: str, known: list[str]) -> Iterator[Finding]:
    value = config.get(key)
    if value is None:
        yield Finding(("config", key), "is missing", f"choose one of {', '.join(sorted(known))}", value=None)
    elif value not in known:
        yield Finding(("config", key), f"is none of {', '.join(known)}", suggest_name(str(value), known))
