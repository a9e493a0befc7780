"""Settings of login and roles."""

from pathlib import Path
from typing import Literal

from pydantic import Field, HttpUrl

from config.base import DnsLabel, LayerSettings, Model


class OidcEndpoints(Model):
    """Addresses of a provider that publishes no discovery document."""

    authorize_url: HttpUrl
    """Where people log in."""
    token_url: HttpUrl
    """Where a code is exchanged for tokens."""
    userinfo_url: HttpUrl
    """Where a person's claims are read."""
    logout_url: HttpUrl | None = None
    """Where people log out; absent means that a log-out ends only the page's own session."""


class Oidc(Model):
    """An OpenID Connect provider; the client secret is the secret `oidc-client-secret`."""

    issuer: HttpUrl
    """Its issuer URL: `https://login.campus.example/application/o/lyceum/`."""
    client_id: str = Field(min_length=1)
    """Client ID of this site at the provider."""
    username_claim: str = "preferred_username"
    """Claim with the user's name; the home volume belongs to this name, so it must never pass to another person."""
    groups_claim: str = "groups"
    """Claim with the user's groups; one inside another is written with a dot."""
    claims_in: Literal["userinfo", "id-token"] = "userinfo"
    """Where the claims are: most providers answer them at `userinfo`; Entra has groups only in the ID token."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    """Scopes that are asked for. Keycloak and Entra refuse `groups` unless it was made there; several need `offline_access` for the tokens by which a login is renewed."""
    ca_file: Path | None = None
    """CA of the provider's certificate, PEM; absent means the public ones."""
    endpoints: OidcEndpoints | None = None
    """Its addresses; absent means that they are read from the issuer's discovery document."""


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
