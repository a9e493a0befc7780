"""Holds what Lyceum sets against upstream's own files: chart values, and custom resources.

check_values("metallb", {"speakr": {}})       -> ["speakr: metallb has no such value; did you mean `speaker`?"]
check_custom_resource({"kind": "IPAddressPool", ...})
"""

import difflib
from collections.abc import Iterator
from typing import Any

import jsonschema

from tests.contracts.upstream import (
    WITHOUT_VALUES,
    Object,
    default_values,
    resource_schema,
    values_schema,
    values_text,
)

_CLASS = ("name", "annotations", "parameters", "reclaimPolicy", "volumeBindingMode", "mountOptions")
COMMENTED: dict[str, dict[str, tuple[str, ...]]] = {
    "csi-driver-nfs": {"": ("storageClasses",), "storageClass": _CLASS},
    "gpu-operator": {"dcgmExporter": ("config",)},
}
"""Chart -> path -> values that upstream's values.yaml shows only in its comments; a test finds them there."""

SUBCHARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "kube-prometheus-stack": {
        "grafana": (
            "admin", "adminPassword", "adminUser", "affinity", "assertNoLeakedSecrets", "dashboardProviders",
            "dashboards", "datasources", "deploymentStrategy", "env", "envFromSecret", "extraSecretMounts",
            "grafana.ini", "image", "initChownData", "ingress", "nodeSelector", "persistence", "plugins", "podAnnotations",
            "rbac", "replicas", "resources", "securityContext", "service", "serviceMonitor", "sidecar", "testFramework",
            "tolerations", "useStatefulSet",
        ),
        "kube-state-metrics": ("affinity", "metricLabelsAllowlist", "nodeSelector", "replicas", "resources", "tolerations"),
        "prometheus-node-exporter": ("affinity", "hostRootFsMount", "nodeSelector", "resources", "tolerations"),
    },
    "gpu-operator": {"node-feature-discovery": ("enableNodeFeatureApi", "image", "featureGates")},
}  # fmt: skip
"""Chart -> subchart -> its own values, beside those of the parent's file. The subchart's file is not among
upstream's files here, so deeper than that nothing is judged."""

EXAMPLES = {
    "jupyterhub": ("hub.config",),
    "ingress-nginx": ("controller.config",),
}
"""Chart -> paths whose default is an example of free content: more keys than upstream's may stand there."""

CUSTOM_RESOURCES: dict[str, dict[str, tuple[str, str]]] = {
    "rook-ceph-cluster": {
        "cephClusterSpec": ("ceph.rook.io/v1", "CephCluster"),
        "cephBlockPools[].spec": ("ceph.rook.io/v1", "CephBlockPool"),
        "cephFileSystems[].spec": ("ceph.rook.io/v1", "CephFilesystem"),
        "cephObjectStores[].spec": ("ceph.rook.io/v1", "CephObjectStore"),
    },
    "ceph-csi-drivers": {"operatorConfig.driverSpecDefaults": ("csi.ceph.io/v1", "OperatorConfig.driverSpecDefaults")},
    "kube-prometheus-stack": {
        "alertmanager.alertmanagerSpec.storage": ("monitoring.coreos.com/v1", "Alertmanager.storage"),
        "prometheus.prometheusSpec.storageSpec": ("monitoring.coreos.com/v1", "Prometheus.storage"),
    },
}
"""Chart -> path (`[]` is every item) -> apiVersion and kind whose spec, or part of it, the chart fills with the value."""


def check_values(chart: str, values: Object) -> list[str]:
    """What is wrong with a release's values.

    Every path must stand in upstream's values.yaml, unless that leaves the place open (`{}`, `[]`, null), the value
    becomes a custom resource's spec (then its definition judges), or a list above allows it. Where upstream brings a
    JSON Schema, the values merged over the defaults must satisfy it too.

    Returns:
        One line a problem: path, what is wrong, the remedy.
    """
    if chart in WITHOUT_VALUES:
        return [f"{path}: {chart} takes no values: {WITHOUT_VALUES[chart]}" for path in values]
    problems = list(_unknown(chart, values, default_values(chart), ""))
    schema = values_schema(chart)
    if schema:
        merged = _overlay(default_values(chart), values)
        # Drafts 7 and 2020-12, the two in use, differ in no word that these schemas need.
        problems += [
            f"{_dotted(error.absolute_path)}: {error.message[:300]} ({chart}, values.schema)"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(merged)
        ]
    return problems


def check_custom_resource(resource: Object) -> list[str]:
    """What upstream's definition has against a custom resource; unknown fields are problems, as nothing would read them.

    Rules in CEL (`x-kubernetes-validations`) are not evaluated.
    """
    schema = resource_schema(resource["apiVersion"], resource["kind"])
    if schema is None:
        return [
            f"{resource['apiVersion']} {resource['kind']}: upstream's files define no such kind at a served version"
        ]
    body = {key: value for key, value in resource.items() if key not in ("apiVersion", "kind", "metadata")}
    return _violations(schema, body, "")


def _unknown(chart: str, values: Any, upstream: Any, path: str) -> Iterator[str]:
    place = CUSTOM_RESOURCES.get(chart, {}).get(path)
    if place:
        yield from _part(place, values, path)
        return
    if isinstance(values, list):
        # A list replaces upstream's; its items are judged by the union of upstream's examples.
        sample: Any = {}
        for item in upstream if isinstance(upstream, list) else ():
            sample = _overlay(sample, item) if isinstance(item, dict) else sample
        for item in values:
            yield from _unknown(chart, item, sample, f"{path}[]")
        return
    if not isinstance(values, dict):
        yield from _mismatch(values, upstream, path)
        return
    if not upstream and not isinstance(upstream, bool | int | str):
        return
    if not isinstance(upstream, dict):
        yield f"{path}: is a map, but upstream has {upstream!r} there"
        return
    if any(path.startswith(f"{called}.") for called in SUBCHARTS.get(chart, {})):
        return
    known = {*upstream, *COMMENTED.get(chart, {}).get(path, ()), *SUBCHARTS.get(chart, {}).get(path, ())}
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        if key in upstream:
            yield from _unknown(chart, value, upstream[key], below)
        elif key not in known and path not in EXAMPLES.get(chart, ()) and not _open_selector(path):
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(sorted(known))[:200]}"
            yield f"{below}: {chart} has no such value; {hint}"


def _open_selector(path: str) -> bool:
    """Label maps are free everywhere, though charts give examples; the same for resource names."""
    return path.rsplit(".", 1)[-1] in ("nodeSelector", "labels", "annotations", "requests", "limits", "parameters")


def _mismatch(value: Any, upstream: Any, path: str) -> Iterator[str]:
    if value is None or upstream in (None, ""):
        return
    if isinstance(upstream, dict) and upstream:
        yield f"{path}: is {value!r}, but upstream has a map there"
    elif isinstance(upstream, bool) != isinstance(value, bool):
        yield f"{path}: is {value!r}, but upstream has {upstream!r} there"


def _part(place: tuple[str, str], values: Any, path: str) -> list[str]:
    api_version, kind = place
    kind, _, field = kind.partition(".")
    schema = resource_schema(api_version, kind)
    if schema is None:
        return [f"{path}: upstream's files define no {kind} at {api_version}"]
    spec = schema["properties"]["spec"]
    return _violations(spec["properties"][field] if field else spec, values, path, partial=True)


def _violations(schema: Object, body: Any, path: str, *, partial: bool = False) -> list[str]:
    """Errors of a body against an OpenAPI v3 schema, whose keywords are those of JSON Schema draft 4.

    Args:
        schema: The schema.
        body: What is judged.
        path: Where the body stands.
        partial: Whether a chart adds fields of its own, so that what is required may be missing at the top.
    """
    closed = _closed(schema)
    if partial:
        closed.pop("required", None)
    found = []
    for error in jsonschema.Draft4Validator(closed).iter_errors(body):
        at = ".".join(filter(None, [path, _dotted(error.absolute_path)]))
        found.append(f"{at}: {error.message[:300]}")
    return found


def _closed(schema: Object) -> Object:
    """The schema with unknown fields forbidden, and Kubernetes' extensions written in JSON Schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: value for key, value in schema.items() if key not in ("properties", "items", "format", "nullable")}
    if "properties" in schema:
        result["properties"] = {key: _closed(value) for key, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        result["items"] = _closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _closed(schema["additionalProperties"])
    open_ = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and not open_:
        result["additionalProperties"] = False
    if schema.get("nullable") and "type" in result:
        result["type"] = [result["type"], "null"]
    return result


def _overlay(base: Any, over: Any) -> Any:
    """Values over defaults, as Helm merges them: null removes a key."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _overlay(merged.get(key), value)
    return merged


def _dotted(path: Any) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def shown_in_comments(chart: str, key: str) -> bool:
    """Whether upstream's values.yaml shows a key in a comment."""
    return any(
        line.lstrip("# ").startswith(f"{key}:") for line in values_text(chart).splitlines() if line.lstrip()[:1] == "#"
    )
