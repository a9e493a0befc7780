"""Amounts as Kubernetes writes them."""


def parse_cpu(text: str) -> int:
    """`500m` or `2` in millicores."""
    return int(text.removesuffix("m")) if text.endswith("m") else int(text) * 1000
