"""Certificates, bootstrap data and node passwords protect what they should."""

import base64
import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography import x509

from lab.k3s import age_certificates, bootstrap, passwords, pki
from lab.k3s.config import Options
from lab.k3s.paths import Paths, write_secret

NAMES = ("kubernetes", "127.0.0.1", "10.21.0.30")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.prepare_server()
    pki.make_shared(made, Options({"secrets-encryption": ("true",)}))
    return made


def serving(paths: Paths) -> bytes:
    return (paths.tls / "serving-kube-apiserver.crt").read_bytes()


def test_the_api_servers_certificate_names_what_it_is_called(paths: Paths) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    found = x509.load_pem_x509_certificate(serving(paths)).extensions
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.21.0.30"]


def test_certificates_are_kept_from_start_to_start(paths: Paths) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    before = serving(paths)
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    assert serving(paths) == before


def test_a_new_name_makes_new_certificates(paths: Paths) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    before = serving(paths)
    pki.make_leaves(paths, (*NAMES, "api.example.org"), "10.21.0.35")
    assert serving(paths) != before


def test_a_certificate_that_expires_soon_is_renewed(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    before = serving(paths)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=pki.LEAF_DAYS - pki.RENEW_DAYS + 1)
    monkeypatch.setattr(pki, "_utcnow", lambda: later)
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    assert serving(paths) != before


@pytest.mark.parametrize(("days", "renewed"), [(244, False), (246, True), (366, True)])
def test_certificates_made_older_are_what_time_would_make_of_them(tmp_path: Path, days: int, renewed: bool) -> None:
    """K3s renews at its start what ends within 120 days; the key stays, and so does who is meant."""
    paths = Paths(tmp_path / "var/lib/rancher/k3s")
    paths.prepare_server()
    pki.make_shared(paths, Options({}))
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    before = x509.load_pem_x509_certificate(serving(paths))
    assert age_certificates.age_machine(tmp_path, paths.tls, days) == len(pki.LEAVES)

    after = x509.load_pem_x509_certificate(serving(paths))
    assert (before.not_valid_after_utc - after.not_valid_after_utc).days == days
    assert (after.subject, after.public_key()) == (before.subject, before.public_key())
    admin = base64.b64encode((paths.tls / "client-admin.crt").read_bytes()).decode()
    assert admin in (paths.cred / "admin.kubeconfig").read_text(), "a kubeconfig holds the same certificate"
    aged = serving(paths)
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    assert (serving(paths) != aged) is renewed


def test_another_clusters_ca_makes_new_certificates(paths: Paths) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    before = serving(paths)
    for kind in ("crt", "key"):
        (paths.tls / f"server-ca.{kind}").unlink()
    pki.make_shared(paths, Options({}))
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    assert serving(paths) != before, "a server that joins a rebuilt cluster must not keep its old certificates"


def test_keys_are_for_root_alone(paths: Paths) -> None:
    pki.make_leaves(paths, NAMES, "10.21.0.35")
    loose = [file for file in paths.tls.rglob("*.key") if file.stat().st_mode & 0o077]
    assert loose == []


def test_a_joining_server_gets_the_shared_files(paths: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path / "other")
    bootstrap.unpack_files(other, bootstrap.pack_files(paths))
    for name in pki.SHARED:
        assert (other.server / name).read_bytes() == (paths.server / name).read_bytes()


def test_bootstrap_data_cannot_name_other_files(paths: Paths) -> None:
    with pytest.raises(bootstrap.BootstrapError, match="authorized_keys"):
        bootstrap.unpack_files(paths, b'{"../../../root/.ssh/authorized_keys": {}}')


def with_passwd(paths: Paths, text: str, seconds_ago: int = 0) -> Path:
    file = paths.server / bootstrap.PASSWD
    write_secret(file, text)
    changed = file.stat().st_mtime - seconds_ago
    os.utime(file, (changed, changed))
    return file


def test_a_server_whose_own_tokens_are_newer_than_the_clusters_is_refused(paths: Paths) -> None:
    """What a start with a wrong token leaves: the right token alone does not mend it (K3s v1.34, and rke2#5785)."""
    with_passwd(paths, "the cluster's", seconds_ago=60)
    saved = bootstrap.pack_files(paths)
    file = with_passwd(paths, "of a start with another token")
    with pytest.raises(bootstrap.BootstrapError, match="passwd newer than datastore and could cause a cluster outage"):
        bootstrap.check_newer(paths, saved)

    file.unlink()
    bootstrap.check_newer(paths, saved)
    bootstrap.unpack_files(paths, saved)
    assert file.read_text() == "the cluster's", "K3s writes it again from the cluster's copy"


def test_a_server_whose_own_tokens_are_older_takes_the_clusters(paths: Paths) -> None:
    with_passwd(paths, "the cluster's")
    saved = bootstrap.pack_files(paths)
    file = with_passwd(paths, "from before the rotation", seconds_ago=60)
    bootstrap.check_newer(paths, saved)
    bootstrap.unpack_files(paths, saved)
    bootstrap.check_newer(paths, saved)
    assert file.read_text() == "the cluster's"


def test_bootstrap_data_opens_with_the_token_only() -> None:
    sealed = bootstrap.encrypt("geheim", b"plain")
    assert bootstrap.decrypt("geheim", sealed) == b"plain"
    with pytest.raises(bootstrap.BootstrapError, match="encrypted with different token"):
        bootstrap.decrypt("other", sealed)


def test_a_restored_cluster_refuses_another_token() -> None:
    stored = {bootstrap.storage_key("geheim"): bootstrap.encrypt("geheim", b"plain")}
    assert bootstrap.find_stored("geheim", stored) == b"plain"
    with pytest.raises(bootstrap.BootstrapError, match="encrypted with different token"):
        bootstrap.find_stored("other", stored)


def test_a_new_cluster_has_no_bootstrap_data() -> None:
    assert bootstrap.find_stored("geheim", {}) is None


def test_a_node_password_matches_its_hash_only() -> None:
    hashed = passwords.hash_password("mine")
    assert passwords.matches(hashed, "mine")
    assert not passwords.matches(hashed, "yours")
    assert "mine" not in hashed


def test_a_node_password_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "node" / "password"
    assert passwords.read_or_create(file) == passwords.read_or_create(file)
    assert file.stat().st_mode & 0o077 == 0


def test_a_secret_file_is_never_open_to_others(tmp_path: Path) -> None:
    write_secret(tmp_path / "secret", "x")
    write_secret(tmp_path / "open", "x", 0o644)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o644
