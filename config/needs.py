"""Which secrets a site needs. Pure: names and reasons, never values."""

from dataclasses import dataclass

from config.hosts import PowerControl
from config.platform import Issuer
from config.site import Site


@dataclass(frozen=True, slots=True)
class Need:
    """A secret that somebody or something has to give.

    Attributes:
        name: Its name in the stack's configuration (`lyceum:<name>`) and in the site's `secrets`.
        what: What it is.
        generated: True where Lyceum makes it and nobody has to choose.
        because: The setting that needs it.
    """

    name: str
    what: str
    generated: bool = False
    because: str = "every site"


GIVEN = {
    "seed": "root secret of the stack, 64 hex digits; K3s tokens, SSH key and passwords are derived from it",
    "proxmox-token": "API token of the Proxmox user, as in `lyceum@pve!lyceum=…`",
}
"""What every site needs."""


def needs(site: Site) -> tuple[Need, ...]:
    """Every secret that a site needs, those of every site first."""
    platform, mail = site.platform, site.platform.monitoring.notifications.mail
    further = (
        (
            platform.certificates.issuer is Issuer.FILES,
            Need("certificate-key", "private key of the wildcard certificate, PEM", because="platform.certificates"),
        ),
        (site.identity.oidc is not None, Need("oidc-client-secret", "client secret", because="identity.oidc")),
        (
            platform.monitoring.notifications.slack is not None,
            Need("slack-webhook", "address of the hook", because="platform.monitoring.notifications.slack"),
        ),
        (
            mail is not None and mail.user is not None,
            Need("smtp-password", "password at the mail server", because="platform.monitoring.notifications.mail"),
        ),
        (
            platform.backup.s3 is not None,
            Need("s3-access-key", "access key of the bucket", because="platform.backup.s3"),
        ),
        (
            platform.backup.s3 is not None,
            Need("s3-secret-key", "secret key of the bucket", because="platform.backup.s3"),
        ),
        (platform.tunnel.enabled, Need("tunnel-token", "token of the tunnel", because="platform.tunnel")),
        (
            any(host.power is PowerControl.IPMI for host in site.hosts),
            Need("ipmi-password", "password of the management controllers", because="hosts[].power"),
        ),
    )
    return (
        Need("seed", GIVEN["seed"], generated=True),
        Need("proxmox-token", GIVEN["proxmox-token"]),
        *(need for wanted, need in further if wanted),
    )


NAMES = (
    *GIVEN,
    "certificate-key",
    "oidc-client-secret",
    "slack-webhook",
    "smtp-password",
    "s3-access-key",
    "s3-secret-key",
    "tunnel-token",
    "ipmi-password",
)
"""Every name that `needs` may give; a test holds that."""
