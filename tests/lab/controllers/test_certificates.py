"""Certificates are real ones, signed as their issuers say, and renewed in time."""

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from lab.controllers.certificates import decide
from lab.controllers.changes import Change
from lab.controllers.issuing import go_duration
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path
from tests.lab.controllers.objects import NOW, after, cache, notes, running, thing

MANAGER = running("cert-manager", "cert-manager", name="cert-manager", component="controller")
SELF = thing("ClusterIssuer", "self", spec={"selfSigned": {}})
ROOT = thing(
    "Certificate",
    "root",
    "cert-manager",
    spec={
        "isCA": True,
        "commonName": "Campus CA",
        "secretName": "root",
        "duration": "87600h",
        "issuerRef": {"kind": "ClusterIssuer", "name": "self"},
        "privateKey": {"algorithm": "ECDSA"},
    },
)
CAMPUS = thing("ClusterIssuer", "campus", spec={"ca": {"secretName": "root"}})


def leaf(**spec: object) -> Object:
    base = {
        "secretName": "hub-tls",
        "dnsNames": ["hub.campus.test"],
        "issuerRef": {"kind": "ClusterIssuer", "name": "campus"},
    }
    return thing("Certificate", "hub", "jhub", spec={**base, "privateKey": {"algorithm": "ECDSA"}, **spec})


def reconcile(cluster: ClusterCache) -> list[Change]:
    """Decides until nothing changes, as the runner does; returns all changes."""
    everything: list[Change] = []
    for _ in range(6):
        changes = list(decide(cluster))
        if not changes:
            return everything
        everything += changes
        after(cluster, changes)
    raise AssertionError("does not settle: the same would be changed again and again")


def secret(cluster: ClusterCache, name: str, namespace: str) -> dict[str, bytes]:
    found = cluster.get("Secret", name, namespace)
    assert found is not None, f"no Secret {namespace}/{name}"
    return {file: base64.b64decode(content) for file, content in found["data"].items()}


def ready(cluster: ClusterCache, kind: str, name: str, namespace: str = "") -> tuple[str, str]:
    conditions = get_path(cluster.get(kind, name, namespace) or {}, "status", "conditions", default=[{}])
    return conditions[0].get("status", ""), conditions[0].get("message", "")


@pytest.fixture
def campus() -> ClusterCache:
    cluster = cache(MANAGER, SELF, ROOT, CAMPUS, leaf())
    reconcile(cluster)
    return cluster


def test_a_certificate_of_the_campus_authority_is_trusted_by_who_trusts_that_authority(campus: ClusterCache) -> None:
    files = secret(campus, "hub-tls", "jhub")
    authority = x509.load_pem_x509_certificate(files["ca.crt"])
    assert files["ca.crt"] == secret(campus, "root", "cert-manager")["tls.crt"]
    verifier = (
        PolicyBuilder().store(Store([authority])).time(NOW).build_server_verifier(x509.DNSName("hub.campus.test"))
    )
    chain = verifier.verify(x509.load_pem_x509_certificate(files["tls.crt"]), [])
    assert chain[-1] == authority


def test_issuers_and_certificates_say_that_they_are_ready(campus: ClusterCache) -> None:
    for kind, name, namespace in (
        ("ClusterIssuer", "self", ""),
        ("ClusterIssuer", "campus", ""),
        ("Certificate", "hub", "jhub"),
    ):
        assert ready(campus, kind, name, namespace)[0] == "True", f"{kind} {name}"


def test_an_issuer_whose_secret_is_missing_is_not_ready_and_says_so() -> None:
    cluster = cache(MANAGER, CAMPUS, leaf())
    reconcile(cluster)
    assert ready(cluster, "ClusterIssuer", "campus") == (
        "False",
        'Error getting keypair for CA issuer: secret "root" not found or no CA',
    )
    assert ready(cluster, "Certificate", "hub", "jhub")[0] == "False"
    assert cluster.get("Secret", "hub-tls", "jhub") is None


def test_a_certificate_that_may_not_sign_makes_no_issuer() -> None:
    root = ROOT | {"spec": {**ROOT["spec"], "isCA": False}}
    cluster = cache(MANAGER, SELF, root, CAMPUS)
    reconcile(cluster)
    assert ready(cluster, "ClusterIssuer", "campus")[0] == "False"


def test_an_acme_issuer_is_never_ready_in_the_lab() -> None:
    cluster = cache(MANAGER, thing("ClusterIssuer", "le", spec={"acme": {"email": "a@campus.test"}}))
    reconcile(cluster)
    assert ready(cluster, "ClusterIssuer", "le")[1].startswith("Issuers of kind acme ask a server outside")


def test_a_certificate_is_renewed_before_it_ends(campus: ClusterCache) -> None:
    before = secret(campus, "hub-tls", "jhub")["tls.crt"]
    campus.now = NOW + timedelta(days=59)
    reconcile(campus)
    assert secret(campus, "hub-tls", "jhub")["tls.crt"] == before, "two thirds of 90 days are not over"
    campus.now = NOW + timedelta(days=61)
    reconcile(campus)
    assert secret(campus, "hub-tls", "jhub")["tls.crt"] != before


def test_a_changed_request_gets_a_new_certificate(campus: ClusterCache) -> None:
    before = secret(campus, "hub-tls", "jhub")["tls.crt"]
    campus.objects["Certificate"]["jhub", "hub"] = leaf(dnsNames=["hub.campus.test", "lab.campus.test"])
    assert ("Issuing", "The certificate has been successfully issued") in notes(reconcile(campus))
    assert secret(campus, "hub-tls", "jhub")["tls.crt"] != before


def test_an_annotated_ingress_gets_a_certificate_for_its_hosts() -> None:
    ingress = thing(
        "Ingress",
        "hub",
        "jhub",
        metadata={"annotations": {"cert-manager.io/cluster-issuer": "campus"}},
        spec={"tls": [{"hosts": ["hub.campus.test"], "secretName": "from-ingress"}]},
    )
    cluster = cache(MANAGER, SELF, ROOT, CAMPUS, ingress)
    reconcile(cluster)
    certificate = x509.load_pem_x509_certificate(secret(cluster, "from-ingress", "jhub")["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.campus.test"]
    owners = get_path(cluster.get("Certificate", "from-ingress", "jhub") or {}, "metadata", "ownerReferences")
    assert owners[0]["uid"] == "uid-hub", "it must end with the Ingress"


def test_nothing_is_signed_while_the_controller_does_not_run() -> None:
    assert list(decide(cache(MANAGER | {"status": {}}, SELF, ROOT))) == []


@pytest.mark.parametrize(("text", "seconds"), [("2160h", 7776000), ("1h30m0s", 5400), ("45s", 45)])
def test_go_durations_are_read(text: str, seconds: int) -> None:
    assert go_duration(text) == timedelta(seconds=seconds)


def test_a_text_that_is_not_a_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="'90d' is not a duration; write hours"):
        go_duration("90d")
