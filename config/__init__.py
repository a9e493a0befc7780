"""Typed settings of a campus. Pure data: only `load` and `secrets` know Pulumi."""
