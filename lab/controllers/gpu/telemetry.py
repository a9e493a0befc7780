"""What the DCGM exporter says of a node's cards: the fields of its list, with values that never change.

Where a real node has the stand-in's image, a web server gives Prometheus this text.
"""

from lab.controllers.gpu.cards import Card, list_cards
from lab.controllers.snapshot_cache import Object, name

SERIES = "lab-dcgm"
"""ConfigMap: name of a node -> its text; and the configuration of the web server."""
WEB_SERVER = "I:index.txt\n"  # Prometheus wants text/plain, which the server gives to .txt
VALUES = {
    "DCGM_FI_DEV_SM_CLOCK": 1410,
    "DCGM_FI_DEV_MEM_CLOCK": 1215,
    "DCGM_FI_DEV_GPU_TEMP": 41,
    "DCGM_FI_DEV_POWER_USAGE": 62.5,
    "DCGM_FI_DEV_GPU_UTIL": 12,
    "DCGM_FI_DEV_FB_USED": 1024,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 0.12,
    "DCGM_FI_PROF_PCIE_TX_BYTES": 1_000_000,
    "DCGM_FI_PROF_PCIE_RX_BYTES": 2_000_000,
    "DCGM_FI_DEV_PCIE_TX_THROUGHPUT": 1000,
    "DCGM_FI_DEV_PCIE_RX_THROUGHPUT": 2000,
}
"""Field -> value; others are 0."""


def describe_cards(node: Object, fields: str) -> str:
    """The exporter's text for a node; `fields` is the exporter's list: lines of name, type, help."""
    rows = [[part.strip() for part in line.split(",", 2)] for line in fields.splitlines() if line[:1] not in ("", "#")]
    lines = []
    for field, kind, text in rows:
        if kind != "label":
            lines += [f"# HELP {field} {text}", f"# TYPE {field} {kind}"]
            lines += [
                _sample(field, index, card, name(node))
                for index, card in enumerate(list_cards(node))
                if "GeForce" not in card.product or "_PROF_" not in field  # these cards have no profiling metrics
            ]
    return "\n".join(lines) + "\n"


def _sample(field: str, index: int, card: Card, node: str) -> str:
    labels = {"gpu": index, "UUID": f"GPU-{node}-{index}", "device": f"nvidia{index}"}
    labels |= {"modelName": card.product.replace("-", " "), "Hostname": node}
    return field + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + f"}} {VALUES.get(field, 0)}"


def container_fields() -> Object:
    """Fields of the exporter's container: the text of its own node, where the web server looks for it."""
    text = {"name": "series", "mountPath": "/www/metrics/index.txt", "subPathExpr": "$(NODE_NAME)"}
    server = {"name": "series", "mountPath": "/etc/httpd.conf", "subPath": "httpd.conf"}
    node = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    return {"env": [node], "volumeMounts": [text, server], "ports": [{"name": "metrics", "containerPort": 9400}]}


def pod_fields() -> Object:
    """Fields of the exporter's pod."""
    return {"volumes": [{"name": "series", "configMap": {"name": SERIES}}]}
