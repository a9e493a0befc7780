"""Unit files as systemd reads them."""

import pytest

from lab.host.guest.units import (
    ExecCommand,
    KillMode,
    ServiceType,
    UnitError,
    parse_command,
    parse_environment,
    parse_environment_file,
    parse_sections,
    parse_service,
    parse_span,
)

K3S = """\
[Unit]
Description=Lightweight Kubernetes
After=network-online.target other.service

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStart=/usr/local/bin/k3s \\
    server \\
    '--node-label' 'a=b c'
"""


def test_the_unit_that_k3s_installs_is_understood() -> None:
    unit = parse_service("k3s.service", parse_sections(K3S))
    assert unit.type is ServiceType.NOTIFY
    assert unit.kill_mode is KillMode.PROCESS, "pods outlive a restart of K3s"
    assert unit.restart_sec == 5.0
    assert unit.timeout_start is None, "0 means no limit: a first start may take minutes"
    assert unit.environment_files == (("/etc/systemd/system/k3s.service.env", True),)
    assert unit.exec_start_pre == (ExecCommand(("/sbin/modprobe", "br_netfilter"), ignore_failure=True),)
    assert unit.exec_start[0].words == ("/usr/local/bin/k3s", "server", "--node-label", "a=b c")
    assert unit.after == ("network-online.target", "other.service")


def test_a_drop_in_replaces_a_command_after_an_empty_assignment() -> None:
    sections = parse_sections("[Service]\nExecStart=/bin/old\n")
    parse_sections("[Service]\nExecStart=\nExecStart=/bin/new\n", into=sections)
    assert [command.words for command in parse_service("a.service", sections).exec_start] == [("/bin/new",)]


def test_a_unit_without_a_command_is_refused_in_systemds_words() -> None:
    with pytest.raises(UnitError, match="Service has no ExecStart= setting"):
        parse_service("a.service", parse_sections("[Unit]\nDescription=nothing\n"))


@pytest.mark.parametrize("line", ["Type=forking", "Restart=on-abort", "ExecStop=/bin/true"])
def test_what_the_lab_cannot_do_is_refused_rather_than_guessed(line: str) -> None:
    with pytest.raises(UnitError, match=r"forking|on-abort|ExecStop"):
        parse_service("a.service", parse_sections(f"[Service]\n{line}\nExecStart=/bin/true\n"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("1min 30s", 90.0), ("100ms", 0.1), ("infinity", None), ("0", None), ("2h", 7200.0)],
)
def test_spans_of_time_are_read_as_systemd_writes_them(text: str, seconds: float | None) -> None:
    assert parse_span(text) == seconds


def test_a_span_that_is_no_time_is_refused() -> None:
    with pytest.raises(UnitError, match="soon"):
        parse_span("soon")


def test_braced_variables_stay_one_word_and_bare_ones_are_split() -> None:
    command = parse_command("/bin/x ${A} $A", "a.service")
    assert command.expanded({"A": "1 2"}) == ["/bin/x", "1 2", "1", "2"]


def test_environment_lines_may_hold_several_quoted_assignments() -> None:
    assert parse_environment(['A=1 "B=two words"', "C=3"]) == {"A": "1", "B": "two words", "C": "3"}


def test_an_environment_file_keeps_equals_signs_and_drops_quotes_and_comments() -> None:
    assert parse_environment_file("# no\nTOKEN=a=b\nQ='x y'\n\n;no\n") == {"TOKEN": "a=b", "Q": "x y"}


@pytest.mark.parametrize(
    ("policy", "result", "again"),
    [
        ("always", "success", True),
        ("on-failure", "success", False),
        ("on-failure", "signal", True),
        ("no", "exit-code", False),
    ],
)
def test_the_restart_policy_decides_by_how_the_service_ended(policy: str, result: str, *, again: bool) -> None:
    unit = parse_service("a.service", parse_sections(f"[Service]\nRestart={policy}\nExecStart=/bin/true\n"))
    assert unit.restarts_after(result) is again
