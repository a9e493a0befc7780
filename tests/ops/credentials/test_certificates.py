"""Expiry of certificates (fault matrix C1)."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509

from lab.certificates import Authority
from lab.k3s import pki
from ops.credentials.certificates import CertificateExpiry, due_certificates, earliest_expiry, kubeconfig_expiry

NOW = datetime(2026, 11, 22, tzinfo=UTC).timestamp()


def test_the_earliest_expiry_counts() -> None:
    text = "server/tls/a.crt Nov 22 00:00:00 2027 GMT\nagent/b.crt Dec  2 12:00:00 2026 GMT\n"
    found = earliest_expiry(text, NOW)

    assert found is not None
    assert (found.file, found.days) == ("agent/b.crt", 10)


def test_an_expired_certificate_has_negative_days() -> None:
    found = earliest_expiry("a.crt Nov 20 00:00:00 2026 GMT\n", NOW)

    assert found is not None
    assert found.days == -2


def test_a_machine_without_certificates_has_no_expiry() -> None:
    assert earliest_expiry("", NOW) is None


@pytest.mark.parametrize(("days", "due"), [(121, False), (120, False), (119, True), (0, True), (-1, True)])
def test_certificates_that_k3s_renews_at_a_start_are_due(days: int, due: bool) -> None:
    """365 days less 246 are 119: the first day on which K3s renews."""
    assert due_certificates({"server-1": CertificateExpiry("a.crt", days), "gpu-1": None}) == (
        ["server-1"] if due else []
    )


def test_an_expired_certificate_shows_since_when() -> None:
    assert str(CertificateExpiry("a.crt", -3)) == "expired 3 days ago"
    assert str(CertificateExpiry("a.crt", 3)) == "3"


def test_the_kubeconfig_certificate_counts_as_well() -> None:
    """It is in the stack's state and expires a year after the first server was created, independent of the nodes."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    authority = Authority.create("client-ca", now, timedelta(days=1000))
    key, _ = pki.new_key()
    signed = pki.sign_leaf(authority, key.public_key(), "system:admin", days=100, now=now)
    data = base64.b64encode(signed).decode()
    text = yaml.safe_dump({"users": [{"name": "default", "user": {"client-certificate-data": data}}]})

    assert x509.load_pem_x509_certificate(signed).not_valid_after_utc == now + timedelta(days=100)
    assert kubeconfig_expiry(text, now.timestamp()) == CertificateExpiry("client-admin.crt", 100)
    assert kubeconfig_expiry("", now.timestamp()) is None
