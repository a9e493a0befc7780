"""Helm templates of a stand-in: pure text out of a catalogue entry.

Objects are built as plain data whose leaves may be `TemplateExpression`, a Go template expression; everything else is
written as JSON, which is YAML too. So a value that the user sets passes through with ``toJson`` and needs no indentation.
"""

import copy
import json
from dataclasses import dataclass
from typing import Any

from lab.charts.facts import Object, get_pod
from lab.charts.stand_in import CatalogEntry, Follow, get_subtree

PASSED_TO_POD = ("nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName")
"""Values that go into the pod as they are, under the names Kubernetes and nearly every chart give them."""

PASSED_TO_SERVICE = ("type", "loadBalancerIP", "loadBalancerClass", "externalTrafficPolicy")

CLUSTER_SCOPED = ("PriorityClass",)


@dataclass(frozen=True)
class TemplateExpression:
    """A Go template expression, without braces."""

    text: str


def value_expression(path: str) -> str:
    """The expression of a dotted values path; keys may hold dashes."""
    return "index .Values " + " ".join(json.dumps(key) for key in path.split(".") if key)


def pass_value(path: str, default: Any = None) -> TemplateExpression:
    """A value passed through as JSON; for an empty one the default, or null, which the API takes for absent."""
    return TemplateExpression(f"toJson (default {literal(default)} ({value_expression(path)}))")


def literal(node: Any) -> str:
    """The expression of plain data."""
    if isinstance(node, dict):
        return f"(fromJson `{json.dumps(node)}`)"
    if isinstance(node, list | tuple):
        return f"(fromJsonArray `{json.dumps(node)}`)"
    return "nil" if node is None else json.dumps(node)


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


def render_object(entry: CatalogEntry, fact: Object) -> str:
    """The template of one object of the facts, with the values that it follows."""
    item, follow = copy.deepcopy(fact), entry.follow(fact)
    own = get_subtree(entry.values, follow.at)
    if item["kind"] not in CLUSTER_SCOPED:
        item["metadata"].setdefault("namespace", TemplateExpression(".Release.Namespace | toJson"))
    if pod := get_pod(item):
        _follow_pod(pod, follow, own)
        if follow.annotations:
            item["spec"]["template"].setdefault("metadata", {})["annotations"] = follow.annotations
        replicas = next((key for key in ("replicas", "replicaCount") if key in own), None)
        if replicas and item["kind"] in ("Deployment", "StatefulSet"):
            item["spec"]["replicas"] = TemplateExpression(f"toJson ({value_expression(f'{follow.at}.{replicas}')})")
    elif item["kind"] == "Service":
        spec = item.setdefault("spec", {})
        spec |= {key: pass_value(f"{follow.at}.{key}", spec.get(key)) for key in PASSED_TO_SERVICE if key in own}
        if "annotations" in own:
            item["metadata"]["annotations"] = pass_value(f"{follow.at}.annotations")
    return render_document(item, follow.when)


def _follow_pod(pod: Object, follow: Follow, own: dict[str, Any]) -> None:
    """Lets a pod's fields follow the values."""
    pod |= {key: pass_value(f"{follow.at}.{key}", pod.get(key)) for key in PASSED_TO_POD if key in own}
    if "tolerations" in own:
        given = f"default (list) ({value_expression(f'{follow.at}.tolerations')})"
        pod["tolerations"] = TemplateExpression(f"toJson (concat {literal(follow.tolerations)} ({given}))")
    container = next((one for one in pod["containers"] if one["name"] == follow.container), pod["containers"][0])
    if resources := follow.resources or (f"{follow.at}.resources" if "resources" in own else None):
        container["resources"] = pass_value(resources, container.get("resources"))
    container |= _find_expressions(follow.runs)


def _find_expressions(node: Any) -> Any:
    """Takes a text that is nothing but an expression out of its quotes."""
    if isinstance(node, dict):
        return {key: _find_expressions(item) for key, item in node.items()}
    if isinstance(node, list):
        return [_find_expressions(item) for item in node]
    whole = isinstance(node, str) and node.startswith("{{") and node.endswith("}}") and node.count("{{") == 1
    return TemplateExpression(node[2:-2].strip()) if whole else node


def render_templates(entry: CatalogEntry) -> dict[str, str]:
    """File name below ``templates/`` -> text, for everything but the custom resource definitions."""
    objects = "---\n".join(render_object(entry, item) for item in entry.generated())
    own = {name: text.replace("{fullname}", entry.name) for name, text in entry.templates.items()}
    return ({"objects.yaml": objects} if objects else {}) | own
