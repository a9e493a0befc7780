"""Kueue: who gets which GPU when (R36)."""

from typing import Any, ClassVar

import pulumi
import yaml

from components import gpu_resources
from components.layer import QUEUE, QUEUE_API, Layer, LayerArgs, Values, sample_object
from config.allocatable import total
from config.capacity import left_for_people
from config.hosts import Node, Role, split_taint
from config.layers import unqueued_namespaces
from config.node_labels import GPU_MODEL, NO_GPU
from config.requests import hard_taints
from config.site import Site

BATCH = "batch"
"""Namespace for jobs whose images run as root, which `default` refuses: its Pod Security level is `baseline`."""
CPU = "cpu"
"""Flavor of workers without a GPU."""


class Queues(Layer):
    """Kueue with one queue over everything that is in service.

    Creates: namespace, release, a ResourceFlavor per kind of node, a ClusterQueue, a LocalQueue in `default` and in a
    namespace of its own.
    Waits for: the controllers, then the webhook that checks the rest.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Queues"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.add_release("kueue", values(self.site))
        answers = self.add_webhook_check("kueue", sample_object("ResourceFlavor", QUEUE_API, {}))
        groups = nodes_by_flavor(self.nodes)
        flavors = [
            self.add_custom_resource(flavor, "ResourceFlavor", QUEUE_API, flavor_spec(flavor, nodes), after=[answers])
            for flavor, nodes in groups.items()
        ]
        queue = self.add_custom_resource(
            QUEUE, "ClusterQueue", QUEUE_API, cluster_queue_spec(self.site, self.nodes), after=flavors
        )
        spec = {"clusterQueue": QUEUE}
        self.ready = (
            self.add_custom_resource(QUEUE, "LocalQueue", QUEUE_API, spec, after=[queue], namespace="default"),
            self.add_custom_resource(
                QUEUE,
                "LocalQueue",
                QUEUE_API,
                spec,
                after=[queue],
                namespace=self.add_namespace(BATCH, keep=True),
                resource=f"localqueue-{BATCH}",
            ),
        )
        self.register_outputs({})


def values(site: Site) -> Values:
    """Chart values; the controller's configuration is a single YAML text in this chart."""
    frameworks = ["batch/job", "pod"]
    if site.workspaces.kubeflow.trainer.enabled:
        # Named only then, so that Kueue restarts where Trainer is switched on later: see the need of the layer's record.
        frameworks += ["jobset.x-k8s.io/jobset", "trainer.kubeflow.org/trainjob"]
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443"},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
        "managedJobsNamespaceSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(unqueued_namespaces())}
            ]
        },
        "integrations": {"frameworks": frameworks},
        # A job whose pods do not all start gives its GPUs back, and so does one whose worker died and whose pods cannot be
        # scheduled again: it goes back into its queue (fault N2).
        "waitForPodsReady": {"timeout": "30m", "recoveryTimeout": "10m"},
    }
    return {
        "enablePrometheus": site.platform.monitoring.enabled,
        # While no replica answers, nobody may create a pod in a namespace with a queue: two, on two nodes where there are.
        "controllerManager": {
            "replicas": 2,
            "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "kueue"}},
                }
            ],
        },
        "managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(configuration, sort_keys=False)},
    }


def nodes_by_flavor(nodes: tuple[Node, ...]) -> dict[str, list[Node]]:
    """Nodes that may run jobs, by GPU model; nodes without a GPU are `cpu`, which comes first so that GPUs stay free.

    A node without a GPU that has a taint is somebody's: it is in no flavor.
    """
    groups: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: bool(node.gpus)):
        if node.role is Role.WORKER and (node.gpus or not hard_taints(node)):
            groups.setdefault(node.gpus[0].model if node.gpus else CPU, []).append(node)
    return groups


def flavor_spec(flavor: str, nodes: list[Node]) -> dict[str, Any]:
    """Labels by which pods of a flavor find its nodes, the nodes' taints, and tolerations of them.

    Kueue adds labels and tolerations to the pods that it admits, so a job need not name them. A taint of GPU nodes keeps off
    what passes the queue by; a job without a GPU gets there only when the flavor `cpu`, which comes first, is full.
    """
    taints = dict.fromkeys(taint for node in nodes for taint in hard_taints(node))
    # Kueue's webhook: unique by key and effect.
    parts = {(key, effect): value for key, value, effect in map(split_taint, taints)}
    spec: dict[str, Any] = {"nodeLabels": {GPU_MODEL: NO_GPU if flavor == CPU else flavor}}
    if parts:
        spec["nodeTaints"] = [
            {"key": key, **({"value": value} if value else {}), "effect": effect}
            for (key, effect), value in parts.items()
        ]
        spec["tolerations"] = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in parts]
    return spec


def cluster_queue_spec(site: Site, nodes: tuple[Node, ...]) -> dict[str, Any]:
    """Spec of a queue whose quota is what the nodes have left for people, notebooks included.

    No job waits while something is free, and nothing is promised that a daemon or the platform holds already.
    """
    groups = nodes_by_flavor(nodes)
    gpus = gpu_resources.offered_resources(node for group in groups.values() for node in group)
    resources = ["cpu", "memory", *gpus]

    def quotas(group: list[Node]) -> dict[str, str]:
        left = total(left_for_people(site, node, nodes) for node in group)
        offered = gpu_resources.offered_resources(group)
        return {"cpu": f"{left.cpu}m", "memory": f"{left.memory}Mi"} | {
            name: str(offered.get(name, 0)) for name in gpus
        }

    return {
        "namespaceSelector": {},
        "resourceGroups": [
            {
                "coveredResources": resources,
                "flavors": [
                    {
                        "name": flavor,
                        "resources": [{"name": name, "nominalQuota": quota} for name, quota in quotas(group).items()],
                    }
                    for flavor, group in groups.items()
                ],
            }
        ],
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
