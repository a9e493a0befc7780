"""Who people are, and what their groups may do."""

from pydantic import Field, HttpUrl

from config.base import DnsLabel, LayerSettings, Model


class Oidc(Model):
    """An OpenID Connect provider; the client secret is the secret `oidc-client-secret`."""

    issuer: HttpUrl
    """Its issuer URL: `https://login.campus.example/application/o/lyceum/`."""
    client_id: str = Field(min_length=1)
    """Name under which the provider knows this site."""
    username_claim: str = "preferred_username"
    """Claim that holds the user's name."""
    groups_claim: str = "groups"
    """Claim that holds the user's groups."""


class Authentik(LayerSettings):
    """Authentik on the cluster itself, for a site without a provider of its own (R12, R26)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "login"
    """Host name under the site's domain."""


class Roles(Model):
    """Which groups hold which role (R15)."""

    admins: tuple[str, ...] = ("admins",)
    """May do everything; meant for emergencies."""
    operators: tuple[str, ...] = ("operators",)
    """Look after the platform and its nodes."""
    testers: tuple[str, ...] = ("testers",)
    """See everything but secrets, and use what is not released yet (R12)."""
    students: tuple[str, ...] = ("students",)
    """Work in the namespaces of their tenants."""


class Identity(Model):
    """Where log-ins come from (R17, R26)."""

    oidc: Oidc | None = None
    """The campus's provider."""
    authentik: Authentik = Authentik()
    """A provider of the site's own; with `oidc` as well, it asks that one."""
    roles: Roles = Roles()
    """Groups and roles."""

    @property
    def present(self) -> bool:
        """Whether anybody can prove who he is."""
        return self.oidc is not None or self.authentik.enabled
