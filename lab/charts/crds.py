"""Custom resource definitions of the stand-ins: right names, versions and scope, and no opinion on the fields.

The schema accepts everything; whether a custom resource fits the real definition is held by the contract tests, which
read upstream's own files.
"""

from collections.abc import Mapping
from typing import Any

from lab.charts.stand_in import Crds

Object = dict[str, Any]


def pluralize(kind: str) -> str:
    """The plural by which the API server knows a kind, as Kubernetes' own generator forms it."""
    word = kind.lower()
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"


def build_definition(
    group: str, kind: str, traits: str, *, keep: bool = False, columns: Mapping[str, str] | None = None
) -> Object:
    """Builds one definition.

    Args:
        group: API group, e.g. ``kueue.x-k8s.io``.
        kind: e.g. ``ClusterQueue``.
        traits: Words: served versions (the storage version ends in ``*`` where there are several), then any of
            ``cluster`` (not namespaced), ``nostatus`` (no status subresource), ``scale`` (scale subresource),
            ``short=a,b``.
        keep: Adds ``helm.sh/resource-policy: keep``.
        columns: Columns of ``kubectl get`` and their JSONPath.
    """
    words = traits.split()
    named = dict(word.split("=", 1) for word in words if "=" in word)
    versions = [word for word in words if word[0] == "v" and word[1:2].isdigit()]
    unknown = set(words) - set(versions) - {"cluster", "nostatus", "scale"} - {f"{k}={v}" for k, v in named.items()}
    if unknown or not versions or set(named) - {"short"}:
        raise ValueError(f"{kind}.{group}: traits '{traits}' hold {sorted(unknown | set(named)) or 'no version'}")
    shown = [{"name": name, "jsonPath": path, "type": "string"} for name, path in (columns or {}).items()]
    names: Object = {"kind": kind, "listKind": f"{kind}List", "plural": pluralize(kind), "singular": kind.lower()}
    if "short" in named:
        names["shortNames"] = named["short"].split(",")
    annotations = {"helm.sh/resource-policy": "keep"} if keep else {}
    if group.endswith((".k8s.io", ".kubernetes.io")):
        # The API server takes a definition in Kubernetes' own groups only with a word about its approval.
        annotations["api-approved.kubernetes.io"] = "unapproved, of a stand-in"
    metadata: Object = {"name": f"{names['plural']}.{group}"} | ({"annotations": annotations} if annotations else {})
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": group,
            "names": names,
            "scope": "Cluster" if "cluster" in words else "Namespaced",
            "versions": [_build_version(word, words, shown, only=len(versions) == 1) for word in versions],
        },
    }


def build_definitions(crds: Crds) -> list[Object]:
    """All definitions of a chart, in the entry's order."""
    return [
        build_definition(group, kind, traits, keep=crds.keep, columns=crds.columns.get(kind))
        for group, kinds in crds.kinds.items()
        for kind, traits in kinds.items()
    ]


def _build_version(word: str, words: list[str], shown: list[Object], *, only: bool) -> Object:
    version: Object = {
        "name": word.rstrip("*"),
        "served": True,
        "storage": only or word.endswith("*"),
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    if shown:
        version["additionalPrinterColumns"] = shown
    subresources: Object = {} if "nostatus" in words else {"status": {}}
    if "scale" in words:
        subresources["scale"] = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    if subresources:
        version["subresources"] = subresources
    return version
