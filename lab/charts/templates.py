"""Helm templates of a stand-in: pure text out of a catalogue entry.

Objects are built as plain data whose leaves may be `TemplateExpression`, a Go template expression; everything else is
written as JSON, which is YAML too. So a value that the user sets passes through with ``toJson`` and needs no indentation.
"""

import json
from dataclasses import dataclass
from typing import Any

from lab.charts.stand_in import CatalogEntry, Service, Workload, get_subtree
from lab.pod_security import CONTEXT

PASSED_TO_POD = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")
"""Values that go into the pod as they are, under the names Kubernetes and nearly every chart give them."""

PASSED_TO_SERVICE = ("type", "loadBalancerIP", "loadBalancerClass", "externalTrafficPolicy")


@dataclass(frozen=True)
class TemplateExpression:
    """A Go template expression, without braces."""

    text: str


def value_expression(path: str) -> str:
    """The expression of a dotted values path; keys may hold dashes."""
    return "index .Values " + " ".join(json.dumps(key) for key in path.split(".") if key)


def pass_value(path: str) -> TemplateExpression:
    """A value passed through as JSON; an empty one becomes null, which the API takes for absent."""
    return TemplateExpression(f"toJson (default nil ({value_expression(path)}))")


def condition_expression(terms: tuple[str, ...]) -> str:
    """The expression of an entry's ``when``: all terms must hold."""
    parts = []
    for term in terms:
        path, _, text = term.removeprefix("!").partition("=")
        test = (
            f"(eq (toString ({value_expression(path)})) {json.dumps(text)})" if text else f"({value_expression(path)})"
        )
        parts.append(f"(not {test})" if term.startswith("!") else test)
    return f"and {' '.join(parts)}" if len(parts) > 1 else parts[0]


def fill_names(text: str) -> str:
    """Fills ``{fullname}`` and ``{release}`` with their template expressions."""
    # Backquotes: the expression may stand inside a JSON string.
    return text.replace("{fullname}", "{{ include `standin.fullname` . }}").replace("{release}", "{{ .Release.Name }}")


def render_node(node: Any) -> str:
    """Writes data as YAML flow text with expressions left bare."""
    if isinstance(node, TemplateExpression):
        return "{{ " + node.text + " }}"
    if isinstance(node, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {render_node(item)}" for key, item in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(render_node(item) for item in node) + "]"
    return json.dumps(node)


def render_document(fields: dict[str, Any], when: tuple[str, ...]) -> str:
    """Writes one object, one line a top-level field, inside its condition."""
    body = "".join(f"{key}: {render_node(item)}\n" for key, item in fields.items())
    return f"{{{{- if {condition_expression(when)} }}}}\n{body}{{{{- end }}}}\n" if when else body


def render_helpers(entry: CatalogEntry) -> str:
    """The names that charts share: ``fullname`` follows Helm's own convention."""
    limit = f'trunc {entry.fullname_limit} | trimSuffix "-"'
    return (
        '{{- define "standin.fullname" -}}\n'
        "{{- $name := default .Chart.Name .Values.nameOverride -}}\n"
        "{{- if .Values.fullnameOverride -}}\n"
        f"{{{{- .Values.fullnameOverride | {limit} -}}}}\n"
        "{{- else if contains $name .Release.Name -}}\n"
        f"{{{{- .Release.Name | {limit} -}}}}\n"
        "{{- else -}}\n"
        f'{{{{- printf "%s-%s" .Release.Name $name | {limit} -}}}}\n'
        "{{- end -}}\n"
        "{{- end -}}\n"
    )


def render_workload(entry: CatalogEntry, item: Workload) -> str:
    """The template of one pod-bearing object; where a value says its kind, one of each kind under a condition."""
    if item.kind_from is None:
        return _render_workload_kind(entry, item, item.kind, item.when)
    kinds = ("Deployment", "DaemonSet")
    return "---\n".join(
        _render_workload_kind(entry, item, kind, (*item.when, f"{item.kind_from}={kind}")) for kind in kinds
    )


def _render_workload_kind(entry: CatalogEntry, item: Workload, kind: str, when: tuple[str, ...]) -> str:
    own = get_subtree(entry.values, item.at)
    selector = _selector(entry, item.component)
    container: dict[str, Any] = {"name": item.component, "image": item.image}
    if CONTEXT[item.security]:
        container["securityContext"] = CONTEXT[item.security]
    if "resources" in own:
        container["resources"] = pass_value(f"{item.at}.resources")
    pod: dict[str, Any] = {"containers": [container]}
    pod |= {key: pass_value(f"{item.at}.{key}") for key in PASSED_TO_POD if key in own}
    template = {"metadata": {"labels": selector | item.labels}, "spec": pod}
    spec: dict[str, Any] = {"template": template}
    if kind == "Job":
        pod["restartPolicy"] = "OnFailure"
    else:
        spec["selector"] = {"matchLabels": selector}
    if kind == "StatefulSet":
        spec["serviceName"] = fill_names(item.name)
    if kind in ("Deployment", "StatefulSet"):
        spec["replicas"] = _replicas_of(item, own)
    annotations = {"helm.sh/hook": item.hook, "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}
    fields = {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": _metadata(entry, item.name, item.component, annotations if item.hook else {}),
        "spec": spec,
    }
    return render_document(fields, when)


def render_service(entry: CatalogEntry, item: Service) -> str:
    """The template of one Service."""
    own = get_subtree(entry.values, item.at)
    spec: dict[str, Any] = {
        "selector": _selector(entry, item.component),
        "ports": [{"name": name, "port": port} for name, port in item.ports.items()],
    }
    spec |= {key: pass_value(f"{item.at}.{key}") for key in PASSED_TO_SERVICE if key in own}
    if item.headless:
        spec["clusterIP"] = "None"
    metadata = _metadata(entry, item.name, item.component, {})
    if "annotations" in own:
        metadata["annotations"] = pass_value(f"{item.at}.annotations")
    return render_document({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}, item.when)


def render_templates(entry: CatalogEntry) -> dict[str, str]:
    """File name below ``templates/`` -> text, for everything but the custom resource definitions."""
    files = {"_helpers.tpl": render_helpers(entry)}
    if entry.workloads:
        files["workloads.yaml"] = "---\n".join(render_workload(entry, item) for item in entry.workloads)
    if entry.services:
        files["services.yaml"] = "---\n".join(render_service(entry, item) for item in entry.services)
    return files | {name: fill_names(text) for name, text in entry.templates.items()}


def _replicas_of(item: Workload, own: dict[str, Any]) -> Any:
    if isinstance(item.replicas, str):
        return TemplateExpression(f"toJson ({value_expression(item.replicas)})")
    key = next((key for key in ("replicas", "replicaCount") if key in own), None)
    return TemplateExpression(f"toJson ({value_expression(f'{item.at}.{key}')})") if key else item.replicas


def _selector(entry: CatalogEntry, component: str) -> dict[str, Any]:
    return {
        "app.kubernetes.io/name": entry.name,
        "app.kubernetes.io/instance": TemplateExpression(".Release.Name | toJson"),
        "app.kubernetes.io/component": component,
    }


def _metadata(entry: CatalogEntry, name: str, component: str, annotations: dict[str, Any]) -> dict[str, Any]:
    managed = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/version": entry.app_version}
    metadata = {
        "name": fill_names(name),
        "namespace": TemplateExpression(".Release.Namespace | toJson"),
        "labels": _selector(entry, component) | managed,
    }
    return metadata | ({"annotations": annotations} if annotations else {})
