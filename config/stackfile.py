"""Validates `Pulumi.<stack>.yaml`: a site, a stage and secrets, nothing else."""

from collections.abc import Iterator
from pathlib import Path

from config.finding import Finding, suggest_name
from config.paths import PROJECT, SITES
from config.required_secrets import SECRET_NAMES
from config.rules.plain_text import check_plain_text
from config.site import STAGES
from config.tokens import SETTING
from config.validate import locate_findings
from config.yaml_source import Document, UnreadableFileError, read_document

TOP_LEVEL_KEYS = ("config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment")
PLAIN_SETTINGS = ("site", "stage", "cluster-ca", "out-of-service", SETTING)
"""Settings of Lyceum that are not secrets."""


def validate_stack_files(directory: Path = PROJECT) -> list[Finding]:
    """Validates every stack file of the project."""
    return [finding for path in sorted(directory.glob("Pulumi.*.yaml")) for finding in validate_stack_file(path)]


def validate_stack_file(path: Path) -> list[Finding]:
    """Validates one stack file."""
    try:
        document = read_document(path)
    except UnreadableFileError as error:
        return [error.finding(path)]
    return locate_findings(path, document, _validate_settings(document))


def _validate_settings(document: Document) -> Iterator[Finding]:
    for key in document.data:
        if key not in TOP_LEVEL_KEYS:
            yield Finding((key,), "is not a key of a stack file", suggest_name(key, TOP_LEVEL_KEYS), value=None)
    config = document.data.get("config")
    if not isinstance(config, dict):
        yield Finding(("config",), "is missing", "add `lyceum:site` and `lyceum:stage` below it", value=None)
        return
    secret = {finding.subject for finding in check_plain_text(document)}
    for key, value in config.items():
        path = ("config", key)
        name = key.removeprefix("lyceum:")
        if not key.startswith("lyceum:"):
            continue
        if name not in {*PLAIN_SETTINGS, *SECRET_NAMES}:
            yield Finding(
                path, "is not a setting here", suggest_name(name, {*PLAIN_SETTINGS, *SECRET_NAMES}), value=None
            )
        elif (name in SECRET_NAMES and not (isinstance(value, dict) and "secure" in value)) or path in secret:
            remedy = (
                f"remove it, create a new secret, and run `./lyceum secrets set {config.get('lyceum:site')} {name}`"
            )
            yield Finding(path, "contains a secret in plain text", remedy, value=None)
    sites = [path.stem for path in SITES.glob("*.yaml")]
    yield from _validate_choice(config, "lyceum:site", sites)
    yield from _validate_choice(config, "lyceum:stage", list(STAGES))


def _validate_choice(config: dict[str, object], key: str, known: list[str]) -> Iterator[Finding]:
    value = config.get(key)
    if value is None:
        yield Finding(("config", key), "is missing", f"choose one of {', '.join(sorted(known))}", value=None)
    elif value not in known:
        yield Finding(("config", key), f"is not one of {', '.join(known)}", suggest_name(str(value), known))
