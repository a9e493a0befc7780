"""Checks a site file as a whole and tells every mistake at once. Offline and pure but for reading files."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.base import FROM_FILE
from config.error_messages import in_words
from config.rules import RULES
from config.rules.cross_site import collisions
from config.rules.finding import IN_FILE, Finding
from config.rules.plain_text import looks_secret, plain_text
from config.site import Site
from config.yaml_source import Document, Place, UnreadableError, read

PROJECT = Path(__file__).resolve().parent.parent
SITES = PROJECT / "config" / "sites"
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, as it is told.

    Attributes:
        file: The site file, relative to the project where it lies in it.
        path: Where in it: `nodes[2].address`.
        line: Its line, from 1; None where the file cannot be read.
        value: What stands there; None where there is nothing to show, or where it could be a secret.
        rule: What is wrong.
        remedy: What to do.
    """

    file: str
    path: str
    line: int | None
    value: str | None
    rule: str
    remedy: str

    def __str__(self) -> str:
        """One line."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"{self.path}: " if self.path else ""
        value = f"`{self.value}` " if self.value is not None else ""
        return f"{where}: {subject}{value}{self.rule}; {self.remedy}"

    def as_json(self) -> dict[str, Any]:
        """For tools."""
        return asdict(self)


class SiteError(Exception):
    """A site file has mistakes; the text tells all of them, one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join([f"{len(problems)} mistake(s) in the site file:", *map(str, problems)]))


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check.

    Attributes:
        site: The site, if it has no mistakes.
        problems: The mistakes, in the order of the file.
        document: The file; None if it cannot be read.
    """

    site: Site | None
    problems: list[Problem]
    document: Document | None


def check(path: Path, *, others: bool = True) -> Checked:
    """Checks one site file; with `others`, also against the other sites beside it."""
    try:
        document = read(path)
    except UnreadableError as error:
        return Checked(None, [Problem(_shown(path), "", error.line, None, error.rule, error.remedy)], None)
    site, findings = examine(document)
    if site and site.name != path.stem:
        findings.append(Finding(("name",), f"differs from the file's name `{path.stem}`", "make them the same"))
    if site and not findings and others:
        findings += collisions(site, _others(path))
    return Checked(None if findings else site, problems(path, document, findings), document)


def load_site(name: str) -> Site:
    """Reads and checks config/sites/<name>.yaml.

    Raises:
        SiteError: the file has mistakes; the text tells all of them.
    """
    checked = check(SITES / f"{name}.yaml")
    if checked.site is None:
        raise SiteError(checked.problems)
    return checked.site


def _others(path: Path) -> Iterator[Site]:
    """The sound ones among the other sites in the directory; a mistake there is told when that site is checked."""
    for sibling in sorted(path.parent.glob("*.yaml")):
        if sibling.name != path.name and (site := check(sibling, others=False).site):
            yield site


def examine(document: Document) -> tuple[Site | None, list[Finding]]:
    """Asks every rule that can be asked; the site is None if it could not be put together at all."""
    findings = list(plain_text(document))
    told = {finding.path for finding in findings}
    sections, wrong = _sections(document.data)
    findings += [finding for finding in in_words(wrong, document.value) if finding.path not in told]
    sound = set(Site.model_fields) - {_field(str(error["loc"][0])) for error in wrong if error["loc"]}
    site = Site.model_construct(**{name: value for name, value in sections.items() if name in sound})
    for rule in RULES:
        if rule.needs <= sound:
            # The first of each place: forty machines with one mistake are one mistake.
            found = list({finding.path: finding for finding in reversed(list(rule.ask(site)))}.values())[::-1]
            findings += [finding for finding in found if finding.path not in told]
            if rule.gives and not found:
                sound.add(rule.gives)
    return (None if wrong else site), findings


def _field(alias: str) -> str:
    return alias.replace("-", "_")


def _sections(data: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Validates the whole; if that fails, section by section, so that one mistake does not hide the rest."""
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


def problems(path: Path, document: Document, findings: Iterable[Finding]) -> list[Problem]:
    """Gives findings their lines and values, in the order of the file."""
    return sorted(
        (
            Problem(
                file=_shown(path),
                path=printable(written(finding.path)),
                line=document.line(finding.path),
                value=_value(document.value(finding.path) if finding.value is IN_FILE else finding.value),
                rule=printable(finding.rule),
                remedy=printable(finding.remedy),
            )
            for finding in findings
        ),
        key=lambda problem: problem.line or 0,
    )


def written(path: Place) -> str:
    """`("nodes", 2, "address")` -> `nodes[2].address`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _value(value: object) -> str | None:
    """A short, printable form on one line; nothing for groups, and nothing for what could be a secret."""
    if value is None or isinstance(value, dict | list) or looks_secret(str(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def printable(text: str) -> str:
    """The text on one line, whatever somebody typed into a key."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(PROJECT))
    except ValueError:
        return str(path)
