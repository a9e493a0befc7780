"""The documentation agrees with the repository: requirements, links, paths, decision records."""

import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from config.paths import PROJECT
from config.planned import PLANNED
from ops.__main__ import COMMANDS
from tests.support.command_line import find_mistake

TRACKED = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split(
    "\n"
)
PAGES = sorted(name for name in TRACKED if name.endswith(".md"))
REQUIREMENTS = PROJECT / "docs" / "requirements.md"
MATRIX = "docs/fault-matrix.md"
ROOMS = ("bench", "components", "config", "docs", "lab", "ops", "tests", "toolchain")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(rf"`((?:{'|'.join(ROOMS)})/[\w./-]*)(?:::?[^`]*)?`")
MODULE = re.compile(rf"`(?:python3? -m )?((?:{'|'.join(ROOMS)})(?:\.\w+)+)(?:\(\))?`")
CITED = re.compile(r"\bR(\d{1,2})\b")
RECORDS = sorted((PROJECT / "docs" / "adr").glob("[0-9]*.md"))


def requirements() -> dict[str, str]:
    """Each row of the page: number -> where it is met."""
    rows = re.findall(r"^\| R(\d+) \|.*\| (.*) \|$", REQUIREMENTS.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a number stands twice"
    return dict(rows)


def text(name: str) -> str:
    return (PROJECT / name).read_text()


def test_every_requirement_that_is_cited_is_on_the_page() -> None:
    sources = [name for name in TRACKED if Path(name).suffix in {".py", ".md", ".yaml", ".json", ".sh", ".toml"}]
    cited = {(number, name) for name in sources for number in CITED.findall(text(name))}
    known = requirements()

    assert [f"R{number} in {name}" for number, name in sorted(cited) if number not in known] == []


def test_the_requirements_are_numbered_without_a_gap() -> None:
    assert list(requirements()) == [str(number) for number in range(1, len(requirements()) + 1)]


def test_a_planned_setting_is_not_called_met() -> None:
    """Whoever takes a setting out of `config/planned.py` changes the page, and the other way round."""
    met = requirements()
    wrong = [
        f"R{number} ({setting})"
        for setting, cited in PLANNED.items()
        for number in CITED.findall(cited)
        if "planned" not in met[number]
    ]

    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(text(page))]
    relative = [link for link in links if link and "://" not in link and not link.startswith("mailto:")]

    assert [link for link in relative if not (PROJECT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in {"CHANGELOG.md", MATRIX}])
def test_paths_that_a_page_names_exist(page: str) -> None:
    """Placeholders such as `config/sites/<name>.yaml` are not paths; `tests/lab/life` is one."""
    missing = [path for path in PATH.findall(text(page)) if not (PROJECT / path.rstrip("/")).exists()]
    modules = [module.split(".") for module in MODULE.findall(text(page))]
    missing += [".".join(module) for module in modules if not _is_module(module)]

    assert missing == []


def _is_module(parts: list[str]) -> bool:
    """Whether it is a module, a file, or a name in a module."""
    for length in range(len(parts), 0, -1):
        place = PROJECT.joinpath(*parts[:length])
        if place.with_suffix(".py").exists():
            rest = parts[length:]
            return not rest or re.search(rf"\b{rest[0]}\b", place.with_suffix(".py").read_text()) is not None
        if place.is_dir():
            return length == len(parts)
    return False


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem[:4])
def test_a_decision_record_has_number_status_and_date(record: Path) -> None:
    [title, _, status, date, *_] = record.read_text().splitlines()

    assert title.startswith(f"# {int(record.name[:4])}. ")
    assert re.fullmatch(r"Status: (proposed|accepted|superseded by \d+)", status)
    assert re.fullmatch(r"Date: \d{4}-\d{2}-\d{2}", date)


def test_the_index_of_decisions_is_complete() -> None:
    index = (PROJECT / "docs" / "adr" / "README.md").read_text()

    for record in RECORDS:
        lines = record.read_text().splitlines()
        number, title = lines[0].removeprefix("# ").split(". ", 1)
        status, date = lines[2].partition(": ")[2], lines[3].partition(": ")[2]
        assert f"| [{number}]({record.name}) | {title} | {status} | {date} |" in index


def names_of_tests(place: Path) -> list[str]:
    """Names of the tests in a module (given without `.py`) or in all modules of a directory."""
    module = place.with_name(f"{place.name}.py")
    files = [module] if module.exists() else sorted(place.rglob("*.py"))
    return [
        name for file in files for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    ]


def matrix_references() -> list[str]:
    """`path::test`, both as the last column writes them; where only `…test…` stands, the path is that of the one before."""
    found = []
    for line in text(MATRIX).splitlines():
        path = ""
        for reference in re.findall(r"`([^`]+)`", line.rsplit("|", 2)[1] if line.startswith("|") else ""):
            if reference.startswith("…"):
                found.append(f"{path}::{reference}")
            elif "/" in reference or "::" in reference:
                path = reference.partition("::")[0]
                found.append(reference)
    return found


@pytest.mark.parametrize("reference", sorted(set(matrix_references())))
def test_the_fault_matrix_names_tests_that_exist(reference: str) -> None:
    path, _, test = reference.partition("::")
    names = names_of_tests(PROJECT / "tests" / path)

    assert names, f"no tests in tests/{path}"
    assert not test or fnmatch.filter(names, test.partition("[")[0].replace("…", "*")), f"not in tests/{path}"


def printed_commands() -> set[str]:
    """`./lyceum …` as pages print it, in code blocks and in sentences, without placeholders for more than one word."""
    found = set()
    for page in PAGES:
        for line in text(page).splitlines():
            block = re.match(r"\./lyceum (.+?)(?:  .*|\s+#.*)?$", line)
            found |= {block[1]} if block else set(re.findall(r"`(?:\./)?lyceum ([^`]+)`", line))
    return {command for command in found if not re.search(r"[…\[|]|^NAME$", command)}


@pytest.mark.parametrize("command", sorted(printed_commands()))
def test_a_command_that_a_page_prints_is_one_that_the_command_line_knows(command: str) -> None:
    """In a sentence a command may stand without its arguments: `./lyceum up`."""
    assert find_mistake(shlex.split(command)) == ""


@pytest.mark.parametrize(
    "command", [name for name, target in COMMANDS.items() if " " not in name and target.startswith("ops")]
)
def test_the_map_for_developers_names_each_command_in_its_room(command: str) -> None:
    room = "/".join(COMMANDS[command].partition(":")[0].split(".")[:-1][:2])
    [row] = re.findall(rf"^\| `{room}` \| (.*?) \|", text("docs/developers/README.md"), re.MULTILINE)

    assert re.search(rf"`{command}( …)?`", row), f"{room}: {row}"


def test_the_glossary_names_places_that_exist() -> None:
    assert len(PATH.findall(text("docs/glossary.md"))) > 20, "the pattern must find them"
