"""What the layers have in common."""

from config.base import Model


class Layer(Model):
    """A layer that can be switched off."""

    enabled: bool = True
    """Whether it is installed."""
