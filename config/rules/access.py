"""Login, roles and tenants."""

from collections.abc import Iterator

from pydantic import HttpUrl

from config.allocatable import total
from config.base import MIB_PER_GIB, expand_range
from config.capacity import SHARED, left_for_people, offered_gpus
from config.finding import Finding, suggest_name
from config.hosts import Role
from config.identity import Oidc
from config.layers import reserved_namespaces
from config.site import Site

HUB = ("workspaces", "jupyterhub")


def check_login(site: Site) -> Iterator[Finding]:
    """Somebody can log in, and only people whom an identity provider knows."""
    hub = site.workspaces.jupyterhub
    if hub.enabled and hub.authenticator == "oauth" and not site.identity.has_provider:
        remedy = "add `identity.oidc`, or switch `identity.authentik` on"
        yield Finding((*HUB, "authenticator"), "needs an identity provider", remedy, value=hub.authenticator)
    if provider := site.identity.oidc:
        yield from _check_provider(provider)
    if hub.enabled and hub.authenticator == "dummy" and not site.simulated:
        rule = "admits everybody with one password; only the simulated campus may use it"
        yield Finding((*HUB, "authenticator"), rule, "use `oauth`")
    if hub.enabled and not hub.allowed_groups:
        yield Finding((*HUB, "allowed-groups"), "admits nobody", "name the groups that may log in", value=None)
    if hub.enabled and not hub.admin_groups:
        yield Finding((*HUB, "admin-groups"), "is empty: nobody could administer", "name at least one group")
    for role in ("admins", "operators"):
        if not getattr(site.identity.roles, role):
            yield Finding(("identity", "roles", role), "is empty: nobody could administer", "name at least one group")
    platform = site.platform
    if platform.tunnel.enabled and not site.identity.has_provider:
        remedy = "add `identity.oidc`, or switch `identity.authentik` on"
        yield Finding(("platform", "tunnel"), "opens pages to the internet without single sign-on", remedy, value=None)


def _check_provider(provider: Oidc) -> Iterator[Finding]:
    """Passwords and tokens are sent over TLS only, and the request is one of OpenID Connect."""
    path = ("identity", "oidc")
    addresses: dict[tuple[str, ...], HttpUrl] = {("issuer",): provider.issuer}
    if provider.endpoints:
        given = provider.endpoints.model_dump(by_alias=True, exclude_none=True)
        addresses |= {("endpoints", name): url for name, url in given.items()}
    for place, url in addresses.items():
        if url.scheme != "https":
            yield Finding((*path, *place), "is not encrypted", "use an address with https://")
    if "openid" not in provider.scopes:
        yield Finding((*path, "scopes"), "lack `openid`", "add it: without it the provider speaks only OAuth")


def check_tenants(site: Site) -> Iterator[Finding]:
    """Tenants have unique names that no namespace of the platform has, and dedicated nodes that exist and are dedicated once."""
    names: dict[str, int] = {}
    nodes = {node.name: node for node in site.machines}
    dedicated: dict[str, str] = {}
    reserved = reserved_namespaces()
    for index, tenant in enumerate(site.tenants):
        if tenant.name in reserved:
            rule = "is a namespace of the platform"
            yield Finding(("tenants", index, "name"), rule, "choose another name")
        elif names.setdefault(tenant.name, index) != index:
            rule = f"is also the name of tenants[{names[tenant.name]}]"
            yield Finding(("tenants", index, "name"), rule, "give each a different name")
        for place, pattern in enumerate(tenant.dedicated):
            path = ("tenants", index, "dedicated", place)
            try:
                wanted = expand_range(pattern)
            except ValueError:
                yield Finding(path, "is not a valid name or pattern", "write it as in `gpu-[01-04]`")
                continue
            for name in wanted:
                if name not in nodes or nodes[name].role is not Role.WORKER:
                    workers = [node.name for node in nodes.values() if node.role is Role.WORKER]
                    yield Finding(path, "is not one of the workers", suggest_name(name, workers), value=name)
                    break
                if (other := dedicated.setdefault(name, tenant.name)) != tenant.name:
                    yield Finding(path, f"is already dedicated to {other}", "dedicate each node once", value=name)
                    break


def check_quotas(site: Site) -> Iterator[Finding]:
    """Quotas name GPUs that exist, and not more than there are; a shared card serves one tenant."""
    there = offered_gpus(site.machines)
    sharing: dict[str, str] = {}
    for index, tenant in enumerate(site.tenants):
        for kind, count in tenant.quota.gpus.items():
            path = ("tenants", index, "quota", "gpus", kind)
            if kind not in there:
                yield Finding(path, "is a kind of GPU that no node has", suggest_name(kind, there), value=kind)
            elif count < 0 or count > there[kind]:
                rule = f"is not between 0 and {there[kind]}, the number that exists"
                yield Finding(path, rule, "correct the number")
            elif kind.endswith(f"/{SHARED}") and (other := sharing.setdefault(kind, tenant.name)) != tenant.name:
                rule = f"has no memory isolation, and {other} and {tenant.name} would share it"
                yield Finding(path, rule, "give it to one of them, or use `mig` or `exclusive`", value=kind)
        yield from _check_quota_sums(site, index)


def _check_quota_sums(site: Site, index: int) -> Iterator[Finding]:
    quota = site.tenants[index].quota
    workers = [node for node in site.machines if node.role is Role.WORKER]
    left = total(left_for_people(site, node, site.machines) for node in workers)
    if quota.cores and quota.cores * 1000 > left.cpu:
        path = ("tenants", index, "quota", "cores")
        yield Finding(
            path, f"is more than the {left.cpu // 1000} that all workers have left for people", "use a smaller number"
        )
    if quota.memory and quota.memory > left.memory:
        path = ("tenants", index, "quota", "memory")
        rule = f"is more than the {left.memory // MIB_PER_GIB} GiB that all workers have left for people"
        yield Finding(path, rule, "use a smaller number")
