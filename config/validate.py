"""Validates a site file and lists all of its mistakes. Offline; the only effect is reading files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.base import FROM_FILE
from config.error_messages import translate_errors
from config.errors import LyceumError
from config.finding import IN_FILE, Finding, closest_name
from config.paths import SITES, project_path
from config.rules import RULES
from config.rules.cross_site import check_collisions
from config.rules.plain_text import check_plain_text, looks_secret
from config.site import Site
from config.yaml_source import Document, UnreadableFileError, read_document

_LONGEST = 60


class SiteError(LyceumError):
    """A site file has mistakes; the text lists all of them, one on each line."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join([f"{len(findings)} mistake(s) in the site file:", *map(str, findings)]))


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Result of validating a site file.

    Attributes:
        site: The site, if it has no mistakes.
        findings: The mistakes, in the order of the file.
        document: The file; None if it cannot be read.
    """

    site: Site | None
    findings: list[Finding]
    document: Document | None


def validate_file(path: Path, *, others: bool = True) -> ValidationResult:
    """Validates one site file; with `others`, also against the other sites in the same directory."""
    if not path.exists():
        return ValidationResult(None, [_missing_file(path)], None)
    try:
        document = read_document(path)
    except UnreadableFileError as error:
        return ValidationResult(None, [error.finding(path)], None)
    site, findings = validate_document(document)
    if site and site.name != path.stem:
        findings.append(Finding(("name",), f"differs from the file's name `{path.stem}`", "make them the same"))
    if site and not findings and others:
        findings += check_collisions(site, _other_sites(path))
    return ValidationResult(None if findings else site, locate_findings(path, document, findings), document)


def _missing_file(path: Path) -> Finding:
    closest = closest_name(path.stem, (sibling.stem for sibling in path.parent.glob("*.yaml")))
    remedy = f"did you mean `{closest}`?" if closest else "`./lyceum init` writes a first one"
    return Finding((), "does not exist", remedy, value=None, file=project_path(path))


def load_site(name: str) -> Site:
    """Reads and validates config/sites/<name>.yaml.

    Raises:
        SiteError: the file has mistakes; the text lists all of them.
    """
    result = validate_file(SITES / f"{name}.yaml")
    if result.site is None:
        raise SiteError(result.findings)
    return result.site


def _other_sites(path: Path) -> Iterator[Site]:
    """The valid ones among the other sites in the directory; a mistake there is reported when that site is validated."""
    for sibling in sorted(path.parent.glob("*.yaml")):
        if sibling.name != path.name and (site := validate_file(sibling, others=False).site):
            yield site


def validate_document(document: Document) -> tuple[Site | None, list[Finding]]:
    """Validates every setting and applies every rule whose sections are valid; the site is None if a setting is not."""
    findings = list(check_plain_text(document))
    reported = {finding.subject for finding in findings}
    sections, errors = _validate_sections(document.data)
    findings += [finding for finding in translate_errors(errors, document.value) if finding.subject not in reported]
    valid = set(Site.model_fields) - {_attribute_name(str(error["loc"][0])) for error in errors if error["loc"]}
    site = Site.model_construct(**{name: value for name, value in sections.items() if name in valid})
    for rule in RULES:
        if rule.requires <= valid:
            # The first of each place: forty machines with one mistake are one mistake.
            found = list({finding.subject: finding for finding in reversed(list(rule.check(site)))}.values())[::-1]
            findings += [finding for finding in found if finding.subject not in reported]
            if rule.provides and not found:
                valid.add(rule.provides)
    return (None if errors else site), findings


def _attribute_name(alias: str) -> str:
    return alias.replace("-", "_")


def _validate_sections(data: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Validates the document; if that fails, each valid section separately, so that one mistake does not hide others."""
    try:
        site = Site.model_validate(data, by_alias=True, by_name=False, context=FROM_FILE)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        return {name: getattr(site, name) for name in site.model_fields_set}, []
    failing = {str(item["loc"][0]) for item in errors if item["loc"]}
    known = {info.alias or name: (name, info) for name, info in Site.model_fields.items()}
    sections = {
        known[key][0]: TypeAdapter[Any](known[key][1].annotation or Any).validate_python(
            value, by_alias=True, by_name=False, context=FROM_FILE
        )
        for key, value in data.items()
        if key in known and key not in failing
    }
    return sections, errors


def locate_findings(path: Path, document: Document, findings: Iterable[Finding]) -> list[Finding]:
    """Adds file, line and the value to show to findings about a file, and sorts them in the order of the file."""
    return sorted((_locate(path, document, finding) for finding in findings), key=lambda finding: finding.line or 0)


def _locate(path: Path, document: Document, finding: Finding) -> Finding:
    place = finding.subject if isinstance(finding.subject, tuple) else ()
    value = document.value(place) if finding.value is IN_FILE else finding.value
    return replace(finding, file=project_path(path), line=document.line(place), value=_shown_value(value))


def _shown_value(value: object) -> str | None:
    """A short form of a value on one line; None for groups and for what could be a secret."""
    if value is None or isinstance(value, dict | list) or looks_secret(str(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
