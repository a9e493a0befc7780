"""`systemctl` as PID 1 answers it: the verbs and the words that scripts of a node depend on."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lab.host.guest.services import ActiveState, ServiceRunner
from lab.host.guest.timer_runner import TimerRunner, format_list, format_time
from lab.host.guest.unit_files import UnitFiles, full_name
from lab.host.guest.units import UnitError

LOG_LINES = 10
"""Lines of the log that `systemctl status` shows."""
_WITH_VALUE = {"-p": "property", "--property": "property", "-s": "signal", "--signal": "signal", "-t": "type"}
_WITH_VALUE |= {"--kill-who": "whom", "--kill-whom": "whom", "--type": "type", "-n": "lines", "--lines": "lines"}
_READING = {"status", "is-active", "is-enabled", "is-failed", "is-system-running", "show", "list-timers"}


class UnitManager(Protocol):
    """What `systemctl` needs of the manager."""

    files: UnitFiles
    booted: bool

    def runner(self, name: str) -> ServiceRunner | TimerRunner: ...  # noqa: D102
    def known(self) -> Sequence[ServiceRunner | TimerRunner]: ...  # noqa: D102
    def reload(self) -> None: ...  # noqa: D102
    def power(self, status: int) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class SystemctlAnswer:
    """What the command prints, and its exit status."""

    code: int = 0
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class SystemctlCall:
    """A parsed command line: the verb, full unit names, and options by their long names."""

    verb: str
    units: tuple[str, ...]
    flags: frozenset[str]
    values: dict[str, str] = field(default_factory=dict)


def parse_call(argv: list[str]) -> SystemctlCall:
    """Split a command line; options may stand anywhere, as systemctl allows."""
    words: list[str] = []
    flags: set[str] = set()
    values: dict[str, str] = {}
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE:
            values[_WITH_VALUE[name]] = value if equals else next(rest, "")
        elif word.startswith("-"):
            flags.add({"-q": "quiet", "-f": "force", "-l": "full", "-a": "all"}.get(word, word.lstrip("-")))
        else:
            words.append(word)
    verb = words[0] if words else ""
    return SystemctlCall(verb, tuple(full_name(word) for word in words[1:]), frozenset(flags), values)


async def systemctl(manager: UnitManager, argv: list[str], *, root: bool) -> SystemctlAnswer:
    """Do what `systemctl ARGV` asks."""
    call = parse_call(argv)
    if call.verb not in _READING and not root:
        return SystemctlAnswer(
            1, err=f"Failed to {call.verb} {' '.join(call.units)}: Interactive authentication required.\n"
        )
    match call.verb:
        case "start" | "stop" | "restart":
            return await _run_jobs(manager, call)
        case "enable" | "disable":
            return await _change_enablement(manager, call)
        case "daemon-reload":
            manager.reload()
            return SystemctlAnswer()
        case "kill":
            number = signal.Signals[f"SIG{call.values.get('signal', 'TERM').upper().removeprefix('SIG')}"]
            for name in call.units:
                manager.runner(name).kill(number, whom=call.values.get("whom", "all"))
            return SystemctlAnswer()
        case "poweroff" | "reboot":
            # Exit statuses of PID 1: see manager.POWEROFF and REBOOT.
            manager.power(3 if call.verb == "reboot" else 0)
            return SystemctlAnswer()
        case _:
            return _answer_query(manager, call)


def _answer_query(manager: UnitManager, call: SystemctlCall) -> SystemctlAnswer:
    match call.verb:
        case "status":
            return _join_answers(call, lambda name: _status(manager, name))
        case "is-active":
            return _check_states(call, lambda name: _active_state(manager, name), {ActiveState.ACTIVE})
        case "is-failed":
            return _check_states(call, lambda name: _active_state(manager, name), {ActiveState.FAILED})
        case "is-enabled":
            return _join_answers(call, lambda name: _is_enabled(manager, name))
        case "is-system-running":
            failed = any(runner.active is ActiveState.FAILED for runner in manager.known())
            state = "starting" if not manager.booted else "degraded" if failed else "running"
            return SystemctlAnswer(int(state != "running"), out=f"{state}\n")
        case "show":
            return _join_answers(call, lambda name: _show(manager, name, call))
        case "list-timers":
            alarms = [
                one for one in manager.known() if isinstance(one, TimerRunner) and one.active is ActiveState.ACTIVE
            ]
            return SystemctlAnswer(out=format_list(alarms, time.time()))
        case _:
            return SystemctlAnswer(
                1, err=f"Unknown command verb {call.verb} (the lab's systemctl knows what a node needs).\n"
            )


async def _run_jobs(manager: UnitManager, call: SystemctlCall) -> SystemctlAnswer:
    """Start and stop; several units at once, as systemd does."""
    wait = "no-block" not in call.flags
    runners = [manager.runner(name) for name in call.units if not name.endswith(".target")]

    async def job(runner: ServiceRunner | TimerRunner) -> bool:
        if call.verb != "start":
            await runner.stop()
        return call.verb == "stop" or await runner.start(wait=wait)

    work = asyncio.gather(*(job(runner) for runner in runners))
    if not wait:
        _background.add(work)
        work.add_done_callback(_background.discard)
        return SystemctlAnswer()
    done = await work
    errors = [
        f"Job for {runner.unit.name} failed because {_failure_reason(runner)}.\n"
        f'See "systemctl status {runner.unit.name}" and "journalctl -xeu {runner.unit.name}" for details.\n'
        for runner, ok in zip(runners, done, strict=True)
        if not ok
    ]
    return SystemctlAnswer(int(bool(errors)), err="".join(errors))


_background: set["asyncio.Future[list[bool]]"] = set()
"""Jobs of `--no-block`: the event loop itself keeps no hold on them."""


def _failure_reason(runner: ServiceRunner | TimerRunner) -> str:
    return {
        "timeout": "a timeout was exceeded",
        "signal": "a fatal signal was delivered to the control process",
        "start-limit-hit": "start of the service was attempted too often",
        "resources": "of unavailable resources or another system error",
        "protocol": "the service did not take the steps required by its unit configuration",
    }.get(runner.result, "the control process exited with error code")


async def _change_enablement(manager: UnitManager, call: SystemctlCall) -> SystemctlAnswer:
    said: list[str] = []
    for name in call.units:
        if manager.files.path(name) is None:
            return SystemctlAnswer(1, err=f"Failed to {call.verb} unit: Unit file {name} does not exist.\n")
        said += manager.files.enable(name) if call.verb == "enable" else manager.files.disable(name)
    manager.reload()
    if "now" in call.flags:
        follow = "start" if call.verb == "enable" else "stop"
        done = await _run_jobs(manager, SystemctlCall(follow, call.units, call.flags))
        return SystemctlAnswer(done.code, err="".join(f"{line}\n" for line in said) + done.err)
    return SystemctlAnswer(err="".join(f"{line}\n" for line in said))


def _join_answers(call: SystemctlCall, each: Callable[[str], SystemctlAnswer]) -> SystemctlAnswer:
    """One answer after the other; the exit status is the worst."""
    answers = [each(name) for name in call.units]
    return SystemctlAnswer(
        max((answer.code for answer in answers), default=0),
        "\n".join(answer.out for answer in answers),
        "".join(answer.err for answer in answers),
    )


def _check_states(call: SystemctlCall, state: Callable[[str], str], wanted: set[ActiveState]) -> SystemctlAnswer:
    """States, a line each; success when at least one is as wanted (systemctl(1), is-active)."""
    states = [state(name) for name in call.units]
    out = "" if "quiet" in call.flags else "".join(f"{word}\n" for word in states)
    return SystemctlAnswer(0 if wanted & set(states) else 1 if ActiveState.FAILED in wanted else 3, out)


def _active_state(manager: UnitManager, name: str) -> str:
    if name.endswith(".target"):
        return ActiveState.ACTIVE
    try:
        return manager.runner(name).active
    except UnitError:
        return ActiveState.INACTIVE


def _is_enabled(manager: UnitManager, name: str) -> SystemctlAnswer:
    if manager.files.path(name) is None:
        return SystemctlAnswer(1, err=f"Failed to get unit file state for {name}: No such file or directory\n")
    if manager.files.enabled(name):
        return SystemctlAnswer(0, "enabled\n")
    installable = bool(manager.files.sections(name).get("Install"))
    return SystemctlAnswer(1, "disabled\n") if installable else SystemctlAnswer(0, "static\n")


def _status(manager: UnitManager, name: str) -> SystemctlAnswer:
    try:
        runner = manager.runner(name)
    except UnitError as error:
        return SystemctlAnswer(4, err=f"{error}\n".replace("not found", "could not be found"))
    since = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(runner.since))
    enabled = "enabled" if manager.files.enabled(name) else "disabled"
    lines = [
        f"● {name} - {runner.unit.description}",
        f"     Loaded: loaded ({manager.files.path(name)}; {enabled})",
        f"     Active: {runner.active} ({runner.sub}) since {since}",
        *([f"   Main PID: {runner.main_pid}"] if runner.main_pid else []),
        "",
        *_tail(runner),
    ]
    return SystemctlAnswer(0 if runner.active is ActiveState.ACTIVE else 3, "\n".join(lines) + "\n")


def _tail(runner: ServiceRunner | TimerRunner) -> list[str]:
    with contextlib.suppress(FileNotFoundError), runner.log.open("rb") as log:
        log.seek(max(0, log.seek(0, 2) - 16384))
        return log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    return []


def _show(manager: UnitManager, name: str, call: SystemctlCall) -> SystemctlAnswer:
    properties = {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
    with contextlib.suppress(UnitError):
        runner = manager.runner(name)
        properties |= {
            "LoadState": "loaded",
            "ActiveState": runner.active,
            "SubState": runner.sub,
            "Result": runner.result,
            "MainPID": str(runner.main_pid),
            "ExecMainStatus": str(runner.main_status),
            "NRestarts": str(runner.restarts),
            "InvocationID": runner.invocation,
            **_type_properties(runner),
            "FragmentPath": str(manager.files.path(name) or ""),
            "UnitFileState": "enabled" if manager.files.enabled(name) else "disabled",
            "Description": runner.unit.description,
        }
    wanted = call.values["property"].split(",") if "property" in call.values else list(properties)
    bare = "value" in call.flags
    return SystemctlAnswer(
        out="".join(f"{'' if bare else f'{key}='}{properties[key]}\n" for key in wanted if key in properties)
    )


def _type_properties(runner: ServiceRunner | TimerRunner) -> dict[str, str]:
    """Properties of services, or of timers."""
    if isinstance(runner, TimerRunner):
        return {
            "Unit": runner.unit.activates,
            "NextElapseUSecRealtime": format_time(runner.next),
            "LastTriggerUSec": format_time(runner.last),
        }
    return {"Type": runner.unit.type}
