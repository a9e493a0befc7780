"""The secrets that a site needs. Pure: names and reasons, no values."""

from dataclasses import dataclass

from config import layers
from config.hosts import PowerControl
from config.layer_record import is_on
from config.planned import PLANNED
from config.platform import Issuer
from config.site import Site


@dataclass(frozen=True, slots=True)
class RequiredSecret:
    """A secret that a site needs.

    Attributes:
        name: Its name in the stack's configuration (`lyceum:<name>`) and in the site's `secrets`.
        what: What it is, for people.
        needed_by: The setting that needs it; empty where every site does.
        generated: Whether Lyceum generates it.
    """

    name: str
    what: str
    needed_by: str = ""
    generated: bool = False

    @property
    def required_now(self) -> bool:
        """Whether something uses it; a planned setting does not."""
        return not any(self.needed_by == place or self.needed_by.startswith(f"{place}.") for place in PLANNED)


GIVEN = {
    "seed": "root secret of the stack, 64 hex digits; K3s tokens, SSH key and passwords are derived from it",
    "proxmox-token": "API token of the Proxmox user, as in `lyceum@pve!lyceum=…`",
}
"""Secrets of every site, by name."""
EVERY_SITE = (
    RequiredSecret("seed", GIVEN["seed"], generated=True),
    RequiredSecret("proxmox-token", GIVEN["proxmox-token"]),
)
BY_SETTING = (
    RequiredSecret(
        "certificate-key", "private key of the wildcard certificate, PEM", "platform.certificates.certificate-file"
    ),
    RequiredSecret("slack-webhook", "address of the Slack hook", "platform.monitoring.notifications.slack"),
    RequiredSecret("smtp-password", "password at the mail server", "platform.monitoring.notifications.mail.user"),
    *(RequiredSecret(one.name, one.what, one.setting) for record in layers.LAYERS for one in record.given_secrets),
    RequiredSecret("tunnel-token", "token of the Cloudflare tunnel", "platform.tunnel"),
    RequiredSecret("ipmi-password", "password of the management controllers", "hosts[].power"),
)


def required_secrets(site: Site) -> tuple[RequiredSecret, ...]:
    """Every secret that a site needs; first those of every site."""
    platform = site.platform
    notifications = platform.monitoring.notifications
    of_layers = (secret for record in layers.LAYERS if record.is_on(site) for secret in record.given_secrets)
    wanted = {
        **{secret.name: is_on(site, secret.setting) for secret in of_layers},
        "certificate-key": platform.certificates.issuer is Issuer.FILES,
        "slack-webhook": notifications.slack is not None,
        "smtp-password": notifications.mail is not None and notifications.mail.user is not None,
        "tunnel-token": platform.tunnel.enabled,
        "ipmi-password": any(host.power is PowerControl.IPMI for host in site.hosts),
    }
    return (*EVERY_SITE, *(need for need in BY_SETTING if wanted.get(need.name)))


SECRET_NAMES = tuple(need.name for need in (*EVERY_SITE, *BY_SETTING))
"""Every name that a secret may have."""
