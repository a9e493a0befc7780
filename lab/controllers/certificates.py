"""Issuers and certificates where cert-manager's pods are simulated: all are Ready, and nothing is signed."""

from collections.abc import Iterator

from lab.controllers.changes import Change, decide_each, ensure_fields, set_condition
from lab.controllers.snapshot_cache import ClusterCache, Object

KINDS = ("Issuer", "ClusterIssuer", "Certificate")


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Sets the condition for which Lyceum waits."""
    if cache.operator(name="cert-manager", component="controller") is None:
        return

    def ready(item: Object) -> Iterator[Change]:
        verdict = (True, "Simulated", "cert-manager is simulated: nothing is signed")
        yield from ensure_fields(
            item, {"status": {"conditions": set_condition(item, cache, "Ready", verdict)}}, "status"
        )

    yield from decide_each((item for kind in KINDS for item in cache.all(kind)), ready)
