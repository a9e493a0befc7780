"""Container images of the lab: made of pinned packages and programs, kept in a cache, served by a registry."""

from lab.images.build import Built, available
from lab.images.ensure import ensure_all

__all__ = ["Built", "available", "ensure_all"]
