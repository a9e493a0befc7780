"""Which secrets a site needs. Pure: names and reasons, never values."""

from dataclasses import dataclass

from config.hosts import PowerControl
from config.planned import PLANNED
from config.platform import Issuer
from config.site import Site


@dataclass(frozen=True, slots=True)
class Need:
    """A secret that somebody or something has to give.

    Attributes:
        name: Its name in the stack's configuration (`lyceum:<name>`) and in the site's `secrets`.
        what: What it is.
        because: The setting that needs it; empty where every site does.
        generated: True where Lyceum makes it and nobody has to choose.
    """

    name: str
    what: str
    because: str = ""
    generated: bool = False

    @property
    def demanded(self) -> bool:
        """Whether something uses it already; a planned setting demands nothing yet."""
        return not any(self.because == place or self.because.startswith(f"{place}.") for place in PLANNED)


GIVEN = {
    "seed": "root secret of the stack, 64 hex digits; K3s tokens, SSH key and passwords are derived from it",
    "proxmox-token": "API token of the Proxmox user, as in `lyceum@pve!lyceum=…`",
}
"""What every site needs."""
ALWAYS = (Need("seed", GIVEN["seed"], generated=True), Need("proxmox-token", GIVEN["proxmox-token"]))
FURTHER = (
    Need("certificate-key", "private key of the wildcard certificate, PEM", "platform.certificates.certificate-file"),
    Need("oidc-client-secret", "secret of the client at the identity provider", "identity.oidc"),
    Need("slack-webhook", "address of the Slack hook", "platform.monitoring.notifications.slack"),
    Need("smtp-password", "password at the mail server", "platform.monitoring.notifications.mail.user"),
    Need("s3-access-key", "access key of the bucket", "platform.backup.s3"),
    Need("s3-secret-key", "secret key of the bucket", "platform.backup.s3"),
    Need("tunnel-token", "token of the Cloudflare tunnel", "platform.tunnel"),
    Need("ipmi-password", "password of the management controllers", "hosts[].power"),
)


def needs(site: Site) -> tuple[Need, ...]:
    """Every secret that a site needs, those of every site first."""
    platform = site.platform
    notifications = platform.monitoring.notifications
    wanted = {
        "certificate-key": platform.certificates.issuer is Issuer.FILES,
        "oidc-client-secret": site.identity.oidc is not None,
        "slack-webhook": notifications.slack is not None,
        "smtp-password": notifications.mail is not None and notifications.mail.user is not None,
        "s3-access-key": platform.backup.s3 is not None,
        "s3-secret-key": platform.backup.s3 is not None,
        "tunnel-token": platform.tunnel.enabled,
        "ipmi-password": any(host.power is PowerControl.IPMI for host in site.hosts),
    }
    return (*ALWAYS, *(need for need in FURTHER if wanted[need.name]))


NAMES = tuple(need.name for need in (*ALWAYS, *FURTHER))
"""Every name that a secret may have."""
