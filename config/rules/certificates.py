"""Certificates: the issuer has what it needs."""

from collections.abc import Iterator

from config.finding import Finding
from config.platform import Issuer
from config.site import Site

PRIVATE_DOMAINS = (
    "local",
    "internal",
    "lan",
    "home",
    "corp",
    "test",
    "localhost",
    "invalid",
    "example",
    "arpa",
    "intranet",
)
"""Top-level domains for which no public CA issues certificates (RFC 6761, RFC 6762, ICANN on .internal)."""
CERTIFICATES = ("platform", "certificates")


def check_issuer(site: Site) -> Iterator[Finding]:
    """Each issuer has its settings, and no settings of another one."""
    certificates = site.platform.certificates
    kind = certificates.issuer
    if kind is Issuer.FILES and certificates.certificate_file is None:
        yield Finding(
            (*CERTIFICATES, "certificate-file"),
            "is missing, but `issuer: files` reads it",
            "set the path of the PEM file",
            value=None,
        )
    if kind is not Issuer.FILES and certificates.certificate_file is not None:
        remedy = "set `issuer: files`, or remove it"
        yield Finding((*CERTIFICATES, "certificate-file"), f"is not used with `issuer: {kind}`", remedy)
    if kind is Issuer.ACME and certificates.acme_email is None:
        rule = "is missing, but `issuer: acme` needs it"
        yield Finding((*CERTIFICATES, "acme-email"), rule, "set the address that the CA may write to", value=None)
    if kind is not Issuer.ACME and certificates.acme_email is not None:
        remedy = "set `issuer: acme`, or remove it"
        yield Finding((*CERTIFICATES, "acme-email"), f"is not used with `issuer: {kind}`", remedy)
    if kind is Issuer.ACME and site.domain.rsplit(".", 1)[-1] in PRIVATE_DOMAINS:
        remedy = "use a public domain, or `issuer: internal`"
        yield Finding(("domain",), "is a private domain, for which no public CA issues certificates", remedy)
