"""Typed settings of a campus. Pure data: only `load` and `secrets` know Pulumi."""

from config.site import STAGES, Site

__all__ = ["STAGES", "Site"]
