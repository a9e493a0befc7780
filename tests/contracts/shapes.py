"""What a rendered chart shows from outside: its objects, reduced to the fields that `lab.charts.facts` keeps."""

from collections.abc import Iterable, Iterator
from typing import Any

from lab.charts.facts import NOT_CARRIED, WORKLOADS, Object, identify, matches
from lab.charts.stand_in import CatalogEntry

LEFT_OUT = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Secret", "Namespace", "Endpoints"}
"""Kinds that are no facts, see `NOT_FACTS`; a namespace is the program's, and Endpoints follow the site's servers."""

POD = (
    "hostNetwork", "hostPID", "hostIPC", "securityContext", "priorityClassName", "nodeSelector", "tolerations", "affinity",
    "topologySpreadConstraints", "terminationGracePeriodSeconds", "serviceAccountName", "automountServiceAccountToken",
    "dnsPolicy", "restartPolicy",
)  # fmt: skip
CONTAINER = ("name", "ports", "startupProbe", "readinessProbe", "livenessProbe", "resources", "securityContext")
VOLUMES: dict[str, tuple[str, ...]] = {
    "hostPath": ("path", "type"),
    "persistentVolumeClaim": ("claimName",),
    "configMap": ("name", "optional"),
    "secret": ("secretName", "optional"),
    "emptyDir": ("medium", "sizeLimit"),
}
"""Kind of a volume -> its fields; one of another kind is left out."""
SPECS: dict[str, tuple[str, ...]] = {
    "Service": ("type", "clusterIP", "ports", "selector", "externalTrafficPolicy", "loadBalancerClass"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName", "resources"),
    "PodDisruptionBudget": ("minAvailable", "maxUnavailable", "selector"),
    "ServiceMonitor": ("jobLabel", "selector", "namespaceSelector", "endpoints"),
    "PodMonitor": ("selector", "namespaceSelector", "podMetricsEndpoints"),
    "Ingress": ("ingressClassName", "tls", "rules"),
    "IngressClass": ("controller",),
    "NetworkPolicy": ("podSelector", "policyTypes"),
    "Certificate": ("secretName", "commonName", "dnsNames", "isCA", "issuerRef", "duration", "revisionHistoryLimit"),
    "Issuer": ("selfSigned", "ca"),
    "Driver": ("controllerPlugin", "nodePlugin", "kernelMountOptions"),
}
"""Kind -> fields of its spec."""
TOP: dict[str, tuple[str, ...]] = {
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "allowVolumeExpansion", "volumeBindingMode", "mountOptions"),
    "PriorityClass": ("value", "globalDefault"),
}  # fmt: skip
"""Kind -> fields beside its metadata."""
MAY_BE_EMPTY = ("emptyDir", "podSelector", "selfSigned")
ENDPOINT = ("port", "path", "scheme", "interval", "honorLabels", "bearerTokenFile", "tlsConfig")
WEBHOOK = ("name", "failurePolicy", "timeoutSeconds", "rules", "namespaceSelector", "objectSelector")
DEFAULTS: Object = {
    "hostNetwork": False,
    "hostPID": False,
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "protocol": "TCP",
    "scheme": "HTTP",
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
    "strategy": {"type": "RollingUpdate"},
    "updateStrategy": {"type": "RollingUpdate"},
}
"""Fields whose value is the API's own default: some charts write them, others do not."""
_NOTHING = object()
HOOK = ("helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy")
DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "ingressclass.kubernetes.io/is-default-class")


def find_shape(objects: Iterable[Object], namespace: str) -> list[Object]:
    """The objects of a release, reduced, in the order of their identities; definitions of custom resources apart."""
    kept = (item for item in objects if item["kind"] not in {*LEFT_OUT, "CustomResourceDefinition"})
    return sorted((reduce(item, namespace) for item in kept), key=identify)


def find_definitions(objects: Iterable[Object]) -> dict[str, dict[str, str]]:
    """API group -> kind -> traits of each custom resource definition, as `build_definition` reads them."""
    found: dict[str, dict[str, str]] = {}
    for item in objects:
        if item["kind"] == "CustomResourceDefinition":
            spec = item["spec"]
            found.setdefault(spec["group"], {})[spec["names"]["kind"]] = " ".join(_traits(spec))
    return {group: dict(sorted(kinds.items())) for group, kinds in sorted(found.items())}


def _traits(spec: Object) -> Iterator[str]:
    served = [version for version in spec["versions"] if version["served"]]
    for version in sorted(served, key=lambda one: str(one["name"])):
        yield f"{version['name']}{'*' if version['storage'] and len(served) > 1 else ''}"
    subresources = [version.get("subresources") or {} for version in served]
    if spec["scope"] == "Cluster":
        yield "cluster"
    if not all("status" in one for one in subresources):
        yield "nostatus"
    if any("scale" in one for one in subresources):
        yield "scale"
    if short := spec["names"].get("shortNames"):
        yield f"short={','.join(short)}"


def reduce(item: Object, namespace: str) -> Object:
    """One object with the fields that are facts."""
    kind, metadata = item["kind"], item["metadata"]
    annotations = metadata.get("annotations") or {}
    kept = {key: annotations[key] for key in (*HOOK, *DEFAULT_CLASS) if key in annotations}
    head = {"name": metadata["name"], "labels": metadata.get("labels"), "annotations": kept}
    if metadata.get("namespace", namespace) != namespace:
        head["namespace"] = metadata["namespace"]
    spec = item.get("spec") or {}
    body: Object = {}
    if kind in WORKLOADS:
        body["spec"] = _workload(kind, spec)
    elif kind in SPECS:
        body["spec"] = pick(spec, SPECS[kind])
        if body["spec"].get("type") == "ClusterIP":
            del body["spec"]["type"]
        for name in ("endpoints", "podMetricsEndpoints"):
            if name in body["spec"]:
                body["spec"][name] = [pick(one, ENDPOINT) for one in spec[name]]
    elif kind.endswith("WebhookConfiguration"):
        body["webhooks"] = [
            pick(one, WEBHOOK) | {"clientConfig": pick(one["clientConfig"], ("service",))} for one in item["webhooks"]
        ]
    body |= pick(item, TOP.get(kind, ()))
    reduced: Object = drop_empty({"apiVersion": item["apiVersion"], "kind": kind, "metadata": head, **body})
    return reduced


def _workload(kind: str, spec: Object) -> Object:
    if kind == "CronJob":
        return {"schedule": spec["schedule"], "jobTemplate": {"spec": _workload("Job", spec["jobTemplate"]["spec"])}}
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels")
    fields = ("replicas", "serviceName", "strategy", "updateStrategy", "backoffLimit", "activeDeadlineSeconds")
    return {
        **pick(spec, fields),
        "selector": spec.get("selector"),
        "template": {"metadata": {"labels": labels}, "spec": reduce_pod(template["spec"])},
    }


def reduce_pod(pod: Object) -> Object:
    """A pod spec with the fields that are facts."""
    kept = pick(pod, POD)
    for name in ("initContainers", "containers"):
        kept[name] = [_container(one) for one in pod.get(name) or ()]
    kept["volumes"] = [
        {"name": one["name"], kind: pick(one[kind] or {}, VOLUMES[kind])}
        for one in pod.get("volumes") or ()
        for kind in VOLUMES
        if kind in one
    ]
    return kept


def _container(container: Object) -> Object:
    kept = pick(container, CONTAINER)
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "exec" in (kept.get(name) or {}):
            kept[name] = {**kept[name], "exec": {"command": ["true"]}}
    return {"image": container["image"].partition("@")[0], **kept}


def pick(node: Object, names: Iterable[str]) -> Object:
    """Some fields of a mapping."""
    return {name: node[name] for name in names if name in node}


def drop_empty(node: Any) -> Any:
    """Leaves out what is null or empty, which the API takes for absent, and its defaults; some fields may be empty.

    Keys are sorted: the provider's answer has them in another order each time.
    """
    if isinstance(node, dict):
        kept = {key: drop_empty(node[key]) for key in sorted(node) if node[key] != DEFAULTS.get(key, _NOTHING)}
        return {key: item for key, item in kept.items() if item not in (None, {}, []) or key in MAY_BE_EMPTY}
    if isinstance(node, list):
        return [drop_empty(item) for item in node]
    return node


def compare_shapes(entry: CatalogEntry, real: Iterable[Object], ours: Iterable[Object]) -> list[str]:
    """Where a stand-in differs from its real chart, by object and field."""
    carried = [
        item
        for item in real
        if matches(item, *entry.templated) or not (item["kind"] in NOT_CARRIED or matches(item, *entry.left_out))
    ]
    theirs = {identify(item): _comparable(entry, item) for item in carried}
    made = {identify(item): _comparable(entry, item) for item in ours}
    found = [f"{name}: only the real chart has it" for name in sorted(theirs.keys() - made.keys())]
    found += [f"{name}: only the stand-in has it" for name in sorted(made.keys() - theirs.keys())]
    for name in sorted(theirs.keys() & made.keys()):
        found += [
            f"{path}: the real chart has {one!r}, the stand-in {other!r}"
            for path, one, other in find_differences(theirs[name], made[name], name)
        ]
    return found


def _comparable(entry: CatalogEntry, item: Object) -> Object:
    """Without the labels of an object that a template of the catalogue makes: nothing selects it by them."""
    if not matches(item, *entry.templated):
        return item
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "labels"}}


def find_differences(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Each field that two pieces of data do not have alike: where, and what each has."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from find_differences(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from find_differences(*pair, f"{path}[{index}]")
    elif one != other:
        yield path, one, other
