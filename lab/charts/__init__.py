"""The chart mirror of the embedded campus and the catalogue of stand-in charts that it serves."""

from lab.charts.mirror import create_app, image_checksum

__all__ = ["create_app", "image_checksum"]
