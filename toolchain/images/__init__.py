"""How container images of the lab are made: layers from the toolchain, PyPI and npm, and archives of them."""
