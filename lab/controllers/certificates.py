"""Issuers and certificates, as cert-manager's controller and its ingress-shim handle them; the certificates are real."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lab.certificates import Authority
from lab.controllers.changes import (
    Change,
    ConditionState,
    Create,
    Patch,
    decide_each,
    ensure_fields,
    format_time,
    owner_references,
    post_event,
    set_condition,
)
from lab.controllers.issuing import CertificateRequest, IssuedCertificate, go_duration, issue
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, name, namespace

__all__ = ["decide"]

ISSUED_FOR = "lab.lyceum/issued-for"
"""Annotation of a Secret: digest of the request and of the authority that its certificate answers."""

Issue = Callable[[CertificateRequest, Authority | None, datetime], IssuedCertificate]


def decide(cache: ClusterCache, make: Issue = issue) -> Iterator[Change]:
    """Readies issuers, makes Certificates for annotated Ingresses, and signs what is missing, changed or ending."""
    controller = cache.operator(name="cert-manager", component="controller")
    if controller is None:
        return
    home = namespace(controller)
    yield from decide_each(
        (*cache.all("Issuer"), *cache.all("ClusterIssuer")), lambda item: _ready_issuer(cache, item, home)
    )
    yield from decide_each(cache.all("Ingress"), lambda item: _request_for_ingress(cache, item))
    yield from decide_each(cache.all("Certificate"), lambda item: _issue_certificate(cache, item, home, make))


def _ready_issuer(cache: ClusterCache, issuer: Object, home: str) -> Iterator[Change]:
    spec = issuer["spec"]
    if "selfSigned" in spec:
        verdict = (True, "IsReady", "")
    elif "ca" in spec:
        called = get_path(issuer, "spec", "ca", "secretName", default="")
        found = _read_authority(cache, called, namespace(issuer) or home)
        if found:
            verdict = (True, "KeyPairVerified", "Signing CA verified")
        else:
            verdict = (
                False,
                "ErrGetKeyPair",
                f'Error getting keypair for CA issuer: secret "{called}" not found or no CA',
            )
    else:
        kind = next(iter(spec), "none")
        verdict = (False, "NotInTheLab", f"Issuers of kind {kind} ask a server outside, which the lab cannot reach")
    yield from ensure_fields(
        issuer, {"status": {"conditions": set_condition(issuer, cache, "Ready", verdict)}}, "status"
    )


def _request_for_ingress(cache: ClusterCache, ingress: Object) -> Iterator[Change]:
    """A Certificate for each TLS entry of an Ingress that names an issuer."""
    given = annotations(ingress)
    cluster, local = given.get("cert-manager.io/cluster-issuer"), given.get("cert-manager.io/issuer")
    if not (cluster or local) or not cache.serves("Certificate"):
        return
    reference = {"kind": "ClusterIssuer", "name": cluster} if cluster else {"kind": "Issuer", "name": local}
    for entry in get_path(ingress, "spec", "tls", default=[]):
        called = entry.get("secretName")
        if not called or not entry.get("hosts"):
            continue
        spec = {
            "dnsNames": entry["hosts"],
            "secretName": called,
            "issuerRef": {"group": "cert-manager.io", **reference},
        }
        there = cache.get("Certificate", called, namespace(ingress))
        if there is None:
            metadata = {"name": called, "namespace": namespace(ingress), "ownerReferences": owner_references(ingress)}
            yield Create(
                {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}
            )
        elif get_path(there, "metadata", "ownerReferences"):
            yield from ensure_fields(there, {"spec": spec})


def _issue_certificate(cache: ClusterCache, certificate: Object, home: str, make: Issue) -> Iterator[Change]:
    within, called = namespace(certificate), certificate["spec"]["secretName"]
    reference = certificate["spec"]["issuerRef"]
    kind = reference.get("kind", "Issuer")
    issuer = cache.get(kind, reference["name"], within if kind == "Issuer" else "")
    if issuer is None or not _is_ready(issuer):
        why = f'Referenced "{kind}" not found or not ready: {reference["name"]}'
        yield from _report_readiness(cache, certificate, (False, "DoesNotExist", why))
        return
    authority = None
    if "ca" in issuer["spec"]:
        authority = _read_authority(cache, issuer["spec"]["ca"]["secretName"], namespace(issuer) or home)
    request = _read_request(certificate)
    digest = _request_digest(request, authority)
    secret = cache.get("Secret", called, within)
    current = _current_certificate(secret, digest)
    if current is None or cache.now >= _renewal_time(current, request):
        issued = make(request, authority, cache.now)
        yield _store_secret(certificate, secret, issued, digest)
        yield post_event(certificate, "Issuing", "The certificate has been successfully issued")
        current = issued.certificate
    times = {
        "notBefore": format_time(current.not_valid_before_utc),
        "notAfter": format_time(current.not_valid_after_utc),
        "renewalTime": format_time(_renewal_time(current, request)),
    }
    verdict = (True, "Ready", "Certificate is up to date and has not expired")
    yield from _report_readiness(cache, certificate, verdict, times)


def _report_readiness(
    cache: ClusterCache, certificate: Object, verdict: ConditionState, times: dict[str, str] | None = None
) -> Iterator[Change]:
    conditions = set_condition(certificate, cache, "Ready", verdict)
    yield from ensure_fields(certificate, {"status": {"conditions": conditions, **(times or {})}}, "status")


def _is_ready(issuer: Object) -> bool:
    conditions = get_path(issuer, "status", "conditions", default=[])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _read_request(certificate: Object) -> CertificateRequest:
    spec: dict[str, Any] = certificate["spec"]
    lifetime = go_duration(spec.get("duration") or "2160h")
    # Upstream renews after two thirds of the lifetime unless renewBefore says otherwise.
    before = go_duration(spec["renewBefore"]) if spec.get("renewBefore") else lifetime / 3
    key = spec.get("privateKey") or {}
    return CertificateRequest(
        common_name=spec.get("commonName") or "",
        names=(*(spec.get("dnsNames") or ()), *(spec.get("ipAddresses") or ())),
        is_ca=bool(spec.get("isCA")),
        lifetime=lifetime,
        renew_before=before,
        algorithm=key.get("algorithm") or "RSA",
        size=key.get("size"),
    )


def _renewal_time(current: x509.Certificate, request: CertificateRequest) -> datetime:
    return current.not_valid_after_utc - min(request.renew_before, request.lifetime - timedelta(seconds=1))


def _request_digest(request: CertificateRequest, authority: Authority | None) -> str:
    signer = authority.certificate.fingerprint(hashes.SHA256()).hex() if authority else ""
    return hashlib.sha256(f"{request}{signer}".encode()).hexdigest()[:16]


def _read_authority(cache: ClusterCache, called: str, within: str) -> Authority | None:
    secret = cache.get("Secret", called, within)
    data = (secret or {}).get("data") or {}
    if not {"tls.crt", "tls.key"} <= data.keys():
        return None
    try:
        return Authority.from_pem(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
    except ValueError:
        return None


def _current_certificate(secret: Object | None, digest: str) -> x509.Certificate | None:
    """The certificate in the Secret, if it answers this very request."""
    if secret is None or annotations(secret).get(ISSUED_FOR) != digest or not get_path(secret, "data", "tls.crt"):
        return None
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def _store_secret(certificate: Object, there: Object | None, issued: IssuedCertificate, digest: str) -> Change:
    reference = certificate["spec"]["issuerRef"]
    template = certificate["spec"].get("secretTemplate") or {}
    metadata = {
        "name": certificate["spec"]["secretName"],
        "namespace": namespace(certificate),
        "labels": {"controller.cert-manager.io/fao": "true", **(template.get("labels") or {})},
        "annotations": {
            **(template.get("annotations") or {}),
            "cert-manager.io/certificate-name": name(certificate),
            "cert-manager.io/issuer-name": reference["name"],
            "cert-manager.io/issuer-kind": reference.get("kind", "Issuer"),
            "cert-manager.io/common-name": certificate["spec"].get("commonName") or "",
            "cert-manager.io/alt-names": ",".join(certificate["spec"].get("dnsNames") or ()),
            ISSUED_FOR: digest,
        },
    }
    files = {"tls.crt": issued.chain, "tls.key": issued.key, "ca.crt": issued.authority}
    data = {file: base64.b64encode(content).decode() for file, content in files.items()}
    if there is None:
        return Create(
            {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}
        )
    return Patch("Secret", namespace(there), name(there), {"metadata": metadata, "data": data})
