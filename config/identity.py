"""Settings of login and roles."""

from pydantic import Field, HttpUrl

from config.base import DnsLabel, LayerSettings, Model


class Oidc(Model):
    """An OpenID Connect provider; the client secret is the secret `oidc-client-secret`."""

    issuer: HttpUrl
    """Its issuer URL: `https://login.campus.example/application/o/lyceum/`."""
    client_id: str = Field(min_length=1)
    """Client ID of this site at the provider."""
    username_claim: str = "preferred_username"
    """Claim with the user's name."""
    groups_claim: str = "groups"
    """Claim with the user's groups."""


class Authentik(LayerSettings):
    """Authentik on the cluster, for a site without an identity provider (R12, R26)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "login"
    """Host name under the site's domain."""


class Roles(Model):
    """Which groups hold which role (R15)."""

    admins: tuple[str, ...] = ("admins",)
    """Groups with full access; for emergencies."""
    operators: tuple[str, ...] = ("operators",)
    """Groups that operate the platform and its nodes."""
    testers: tuple[str, ...] = ("testers",)
    """Groups that see everything except secrets, and use what is not released yet (R12)."""
    students: tuple[str, ...] = ("students",)
    """Groups that work in the namespaces of their tenants."""


class Identity(Model):
    """Identity providers and roles (R17, R26)."""

    oidc: Oidc | None = None
    """The campus's OpenID Connect provider."""
    authentik: Authentik = Authentik()
    """Authentik on the cluster; with `oidc` as well, it forwards logins to that provider."""
    roles: Roles = Roles()
    """Groups and roles."""

    @property
    def has_provider(self) -> bool:
        """Whether the site has an identity provider."""
        return self.oidc is not None or self.authentik.enabled
