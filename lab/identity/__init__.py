"""The campus's people: an LDAP directory, and the OpenID Connect provider that they log in at."""

from lab.identity.packages import ensure, ensure_secret
from lab.identity.services import describe_people, missing_parts, start

__all__ = ["describe_people", "ensure", "ensure_secret", "missing_parts", "start"]
