"""cert-manager and the issuer that everything uses (R25)."""

from typing import ClassVar

import pulumi

from components.layer import INGRESS_CLASS, ISSUER, Layer, LayerArgs, Values
from config.platform import Issuer
from config.site import Site

_CA = "campus-ca"


class Certificates(Layer):
    """cert-manager with one ClusterIssuer.

    Creates: namespace, release, the ClusterIssuer `campus`; its own root certificate unless an ACME server signs.
    Waits for: the chart's start-up check, then the issuer's Ready condition.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Certificates"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("cert-manager", values(self.site))
        before: pulumi.Resource = release
        # With `files` too: the wildcard certificate covers the pages, the internal CA whatever else asks the issuer.
        if self.site.platform.certificates.issuer is not Issuer.ACME:
            before = self._add_root(release)
        issuer = self.add_custom_resource(
            ISSUER,
            "ClusterIssuer",
            "cert-manager.io/v1",
            issuer_spec(self.site),
            after=[before],
            wait_for="condition=Ready",
        )
        self.ready = (issuer,)
        self.register_outputs({})

    def _add_root(self, release: pulumi.Resource) -> pulumi.Resource:
        self_signed = self.add_custom_resource(
            "self-signed",
            "ClusterIssuer",
            "cert-manager.io/v1",
            {"selfSigned": {}},
            after=[release],
            wait_for="condition=Ready",
        )
        return self.add_custom_resource(
            _CA,
            "Certificate",
            "cert-manager.io/v1",
            {
                "isCA": True,
                "commonName": f"{self.site.title} CA",
                "secretName": _CA,
                "duration": "87600h",
                "privateKey": {"algorithm": "ECDSA", "size": 256},
                "issuerRef": {"name": "self-signed", "kind": "ClusterIssuer", "group": "cert-manager.io"},
            },
            after=[self_signed],
            namespace="cert-manager",
            wait_for="condition=Ready",
        )


def values(site: Site) -> Values:
    """Chart values; the definitions outlive the release, or every certificate would be deleted with them."""
    monitored = {"servicemonitor": {"enabled": site.platform.monitoring.enabled}}
    return {"crds": {"enabled": True, "keep": True}, "prometheus": {"enabled": True, **monitored}}


def issuer_spec(site: Site) -> dict[str, object]:
    """Spec of the ClusterIssuer, by who signs the site's certificates."""
    certificates = site.platform.certificates
    if certificates.issuer is Issuer.ACME:
        return {
            "acme": {
                "server": str(certificates.acme_server),
                "email": certificates.acme_email,
                "privateKeySecretRef": {"name": "acme-account"},
                "solvers": [{"http01": {"ingress": {"ingressClassName": INGRESS_CLASS}}}],
            }
        }
    return {"ca": {"secretName": _CA}}
