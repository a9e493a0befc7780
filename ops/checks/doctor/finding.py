"""The doctor's findings: the subject of each is the check that made it, as in `privileges` or `bridge`."""

from collections.abc import Iterator
from contextlib import suppress

from components.proxmox.client import PveError
from config.finding import Finding, Severity

JSON_STATES = {Severity.OK: "ok", Severity.ERROR: "fault", Severity.WARNING: "unknown", Severity.UNKNOWN: "unknown"}


def passed(check: str, rule: str) -> Finding:
    """Checked and in order."""
    return Finding(check, rule, severity=Severity.OK)


def failed(check: str, rule: str, remedy: str) -> Finding:
    """Must be corrected before the campus can be built."""
    return Finding(check, rule, remedy)


def unknown(check: str, rule: str, remedy: str = "") -> Finding:
    """Could not be checked, and why."""
    return Finding(check, rule, remedy, Severity.UNKNOWN)


def report_errors(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Turns an error in the middle of a check into a finding of it, so that the other checks still run."""
    with suppress(StopIteration):
        while True:
            try:
                yield next(findings)
            except PveError as error:
                if error.status == 403:
                    yield unknown(check, f"the token may not ask: {error}", "see the finding about privileges")
                else:
                    yield failed(check, str(error), "look at the node's task log and journal")
                return


def json_record(finding: Finding) -> dict[str, str]:
    """The form that `doctor --json` prints."""
    return {
        "check": finding.subject_text,
        "state": JSON_STATES[finding.severity],
        "cause": finding.rule,
        "remedy": finding.remedy,
    }
