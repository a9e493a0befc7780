"""Layers: what one layer needs of another is enabled."""

from collections.abc import Iterator

from config import layers
from config.finding import Finding
from config.layer_record import is_on
from config.site import Site


def check_demands(site: Site) -> Iterator[Finding]:
    """A page has an ingress, and a setting that needs another layer has it."""
    ingress = layers.record_of("ingress")
    for layer in layers.requested_layers(site):
        if any(page.required for page in layer.pages) and not ingress.is_on(site):
            yield _finding(layer.switch, "is a page", ingress.switch)
    for record in layers.LAYERS:
        for need in record.needs:
            needed = layers.record_of(need.layer)
            if need.demanded_by and record.is_on(site) and is_on(site, need.demanded_by) and not needed.is_on(site):
                yield _finding(need.demanded_by, need.reason, needed.switch)


def _finding(path: str, reason: str, needed: str) -> Finding:
    return Finding(tuple(path.split(".")), f"{reason}, but {needed} is off", f"switch {needed} on", value=None)
