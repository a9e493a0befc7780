"""When certificates end (fault matrix C1)."""

from datetime import UTC, datetime

from ops.certificates import soonest

NOW = datetime(2026, 11, 22, tzinfo=UTC).timestamp()


def test_the_certificate_that_ends_first_counts() -> None:
    text = "server/tls/a.crt Nov 22 00:00:00 2027 GMT\nagent/b.crt Dec  2 12:00:00 2026 GMT\n"
    found = soonest(text, NOW)

    assert found is not None
    assert (found.file, found.days) == ("agent/b.crt", 10)


def test_a_certificate_that_has_ended_counts_below_zero() -> None:
    found = soonest("a.crt Nov 20 00:00:00 2026 GMT\n", NOW)

    assert found is not None
    assert found.days == -2


def test_a_machine_without_certificates_has_none() -> None:
    assert soonest("", NOW) is None
