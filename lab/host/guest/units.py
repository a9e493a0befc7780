"""Unit files: the part of systemd.service(5), systemd.unit(5) and systemd.exec(5) that services of a node use.

Pure: text in, data out. Keys that the lab does not act on (limits, ordering against targets, sandboxing) are kept
but have no effect; what would change whether or how a service runs is honoured or refused.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Sections = dict[str, dict[str, list[str]]]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|seconds?|sec|s|minutes?|min|m|hours?|hr|h|days?|d)?\s*")
_SECONDS = {"u": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class UnitError(Exception):
    """A unit cannot be loaded; the text is what `systemctl` prints."""


class ServiceType(StrEnum):
    """When a service counts as started."""

    SIMPLE = "simple"
    EXEC = "exec"
    NOTIFY = "notify"
    ONESHOT = "oneshot"


class KillMode(StrEnum):
    """Which processes of a service a stop ends."""

    CONTROL_GROUP = "control-group"
    PROCESS = "process"


class Restart(StrEnum):
    """After which ends a service is started again."""

    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"


_UNKNOWN = ("ConditionPathExists", "ExecStartPost", "ExecStop", "RemainAfterExit", "WorkingDirectory")
"""Keys that change what a service does, and that no service of a node has."""


@dataclass(frozen=True)
class ExecCommand:
    """One Exec line; `ignore_failure` is its leading `-`."""

    words: tuple[str, ...]
    ignore_failure: bool = False

    def expanded(self, environment: Mapping[str, str]) -> list[str]:
        """Put in variables as systemd does: `${A}` stays one word, a bare `$A` is split at blanks."""
        argv: list[str] = []
        for word in self.words:
            if re.fullmatch(r"\$\w+", word):
                argv += environment.get(word[1:], "").split()
            else:
                argv.append(_VARIABLE.sub(lambda match: environment.get(match[1], ""), word))
        return argv


@dataclass(frozen=True)
class ServiceUnit:
    """A service unit as the manager runs it; times in seconds, `None` means no limit."""

    name: str
    description: str = ""
    type: ServiceType = ServiceType.SIMPLE
    exec_start_pre: tuple[ExecCommand, ...] = ()
    exec_start: tuple[ExecCommand, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_files: tuple[tuple[str, bool], ...] = ()
    """Path, and whether it may be missing."""
    restart: Restart = Restart.NO
    restart_sec: float = 0.1
    timeout_start: float | None = 90.0
    timeout_stop: float | None = 90.0
    start_limit: tuple[int, float] = (5, 10.0)
    """Starts, and the seconds they are counted in; 0 starts means no limit."""
    kill_mode: KillMode = KillMode.CONTROL_GROUP
    user: str = "root"
    after: tuple[str, ...] = ()

    def restarts_after(self, result: str) -> bool:
        """Whether `Restart=` asks for another start after `success`, `exit-code`, `signal`, `timeout`."""
        return self.restart is Restart.ALWAYS or (self.restart is Restart.ON_FAILURE and result != "success")


def parse_sections(text: str, into: Sections | None = None) -> Sections:
    """Read one unit file or drop-in over what was read before: values add up, an empty value starts afresh."""
    sections: Sections = {} if into is None else into
    current: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            current = sections.setdefault(stripped[1:-1], {})
            continue
        key, equals, value = stripped.partition("=")
        if not equals:
            raise UnitError(f"Assignment outside of section or missing '=': {stripped}")
        if value.strip():
            current.setdefault(key.strip(), []).append(value.strip())
        else:
            current[key.strip()] = []
    return sections


def parse_span(text: str) -> float | None:
    """Seconds of `5`, `1min 30s`, `100ms`; None of `infinity` and, as for time-outs, `0`."""
    if text in {"infinity", "0"}:
        return None
    matches = list(_SPAN.finditer(text))
    if not matches or "".join(match[0] for match in matches) != text:
        raise UnitError(f"Failed to parse time span: {text}")
    total = 0.0
    for match in matches:
        unit = match[2] or "s"
        total += float(match[1]) * _SECONDS[unit if unit == "ms" else unit[0]]
    return total


def parse_command(text: str, name: str) -> ExecCommand:
    """One Exec line; the prefixes `@ + ! :` of systemd.service(5) change nothing in the lab."""
    prefix = re.match(r"[-@+!:|]*", text)
    marks = prefix[0] if prefix else ""
    body = text[len(marks) :].replace("%n", name).replace("%N", name.rsplit(".", 1)[0]).replace("%%", "%")
    words = tuple(shlex.split(body))
    if not words:
        raise UnitError(f"{name}: empty command in `{text}`")
    return ExecCommand(words, ignore_failure="-" in marks)


def parse_environment(values: list[str]) -> dict[str, str]:
    """`Environment=` lines: blank-separated, quotable `KEY=value` words."""
    return dict(word.split("=", 1) for value in values for word in shlex.split(value) if "=" in word)


def parse_environment_file(text: str) -> dict[str, str]:
    """An `EnvironmentFile=`: one `KEY=value` a line, comments with `#` or `;`, optional quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key and key[0] not in "#;":
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[key.strip()] = value[1:-1] if quoted else value
    return found


def parse_service(name: str, sections: Sections) -> ServiceUnit:
    """What the manager needs to know of a service.

    Raises:
        UnitError: no command, or a value the lab would have to ignore though it changes what happens.
    """
    unit, body = (sections.get(part, {}) for part in ("Unit", "Service"))

    def last(key: str, default: str) -> str:
        return body[key][-1] if body.get(key) else default

    def commands(key: str) -> tuple[ExecCommand, ...]:
        return tuple(parse_command(line, name) for line in body.get(key, []))

    try:
        kind = ServiceType(last("Type", "oneshot" if not body.get("ExecStart") else "simple"))
        kill_mode, restart = KillMode(last("KillMode", "control-group")), Restart(last("Restart", "no"))
    except ValueError as error:
        known = ", ".join((*ServiceType, *KillMode, *Restart))
        raise UnitError(f"{name}: {error} in the lab; it knows {known}") from None
    if unknown := [key for key in _UNKNOWN if body.get(key) or unit.get(key)]:
        raise UnitError(f"{name}: {unknown[0]}= is unknown in the lab")
    if not body.get("ExecStart"):
        raise UnitError(f"{name}: Service has no ExecStart= setting. Refusing.")
    # A oneshot may take as long as it likes unless the unit says otherwise (systemd.service(5)).
    timeout_start = parse_span(last("TimeoutStartSec", "infinity" if kind is ServiceType.ONESHOT else "90"))
    return ServiceUnit(
        name=name,
        description=unit["Description"][-1] if unit.get("Description") else name,
        type=kind,
        exec_start_pre=commands("ExecStartPre"),
        exec_start=commands("ExecStart"),
        environment=parse_environment(body.get("Environment", [])),
        environment_files=tuple((path.lstrip("-"), path.startswith("-")) for path in body.get("EnvironmentFile", [])),
        restart=restart,
        restart_sec=parse_span(last("RestartSec", "100ms")) or 0.0,
        timeout_start=timeout_start,
        timeout_stop=parse_span(last("TimeoutStopSec", "90")),
        start_limit=(
            int((unit.get("StartLimitBurst") or ["5"])[-1]),
            parse_span((unit.get("StartLimitIntervalSec") or ["10"])[-1]) or 0.0,
        ),
        kill_mode=kill_mode,
        user=last("User", "root"),
        after=tuple(word for line in unit.get("After", []) for word in line.split()),
    )
