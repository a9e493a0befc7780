"""How far the lab's pods keep to the Pod Security Standards, so that a namespace's level refuses what it should."""

from typing import Any, Literal

Level = Literal["restricted", "baseline", "privileged"]
"""The strictest standard that a pod still meets."""

CONTEXT: dict[Level, dict[str, Any]] = {
    "restricted": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "baseline": {},
    "privileged": {"privileged": True},
}
"""Level -> securityContext of a container of that level (kubernetes.io, Pod Security Standards)."""
