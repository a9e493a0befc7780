"""Kueue: who gets which GPU when (R36)."""

from typing import Any, ClassVar

import pulumi
import yaml

from components import gpu_resources
from components.layer import Layer, LayerArgs, Values, quantity, sample_object
from config.hosts import Node, Role
from config.layers import unqueued_namespaces
from config.site import Site

QUEUE = "campus"
"""Name of the ClusterQueue, and of the LocalQueues."""
BATCH = "batch"
"""Namespace for jobs whose images run as root, which `default` refuses: its Pod Security level is `baseline`."""
API = "kueue.x-k8s.io/v1beta2"


class Queues(Layer):
    """Kueue with one queue over everything that is in service.

    Creates: namespace, release, a ResourceFlavor per kind of node, a ClusterQueue, a LocalQueue in `default` and in a
    namespace of its own.
    Waits for: the controllers, then the webhook that checks the rest.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Queues"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("kueue", values(self.site))
        answers = self.add_webhook_check(
            "kueue", sample_object("ResourceFlavor", API, {}), values(self.site), after=release
        )
        groups = nodes_by_flavor(self.nodes)
        flavors = [
            self.add_custom_resource(
                flavor, "ResourceFlavor", API, {"nodeLabels": flavor_labels(flavor)}, after=[answers]
            )
            for flavor in groups
        ]
        queue = self.add_custom_resource(QUEUE, "ClusterQueue", API, cluster_queue_spec(groups), after=flavors)
        spec = {"clusterQueue": QUEUE}
        self.ready = (
            self.add_custom_resource(QUEUE, "LocalQueue", API, spec, after=[queue], namespace="default"),
            self.add_custom_resource(
                QUEUE,
                "LocalQueue",
                API,
                spec,
                after=[queue],
                namespace=self.add_namespace(BATCH, keep=True),
                resource=f"localqueue-{BATCH}",
            ),
        )
        self.register_outputs({})


def values(site: Site) -> Values:
    """Chart values; the controller's configuration is a single YAML text in this chart."""
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
        "integrations": {"frameworks": ["batch/job", "jobset.x-k8s.io/jobset", "trainer.kubeflow.org/trainjob", "pod"]},
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


def flavor_labels(flavor: str) -> dict[str, str]:
    """Node labels of a flavor: the GPU model, or none for nodes without a GPU."""
    return {} if flavor == "cpu" else {"gpu-model": flavor}


def nodes_by_flavor(nodes: tuple[Node, ...]) -> dict[str, list[Node]]:
    """Nodes that may run jobs, by GPU model; nodes without a GPU are `cpu`, which comes first so that GPUs stay free."""
    groups: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: bool(node.gpus)):
        if node.role is Role.WORKER:
            groups.setdefault(node.gpus[0].card.label if node.gpus else "cpu", []).append(node)
    return groups


def cluster_queue_spec(groups: dict[str, list[Node]]) -> dict[str, Any]:
    """Spec of a queue whose quota is what the nodes have: no job waits while something is free, nothing is promised twice."""
    resources = ["cpu", "memory", *gpu_resources.offered_resources(node for nodes in groups.values() for node in nodes)]

    def quota(nodes: list[Node], resource: str) -> int | str:
        if resource == "cpu":
            return sum(node.shape.cores for node in nodes)
        if resource == "memory":
            return quantity(sum(node.shape.memory for node in nodes))
        return gpu_resources.offered_resources(nodes).get(resource, 0)

    return {
        "namespaceSelector": {},
        "resourceGroups": [
            {
                "coveredResources": resources,
                "flavors": [
                    {
                        "name": flavor,
                        "resources": [{"name": name, "nominalQuota": str(quota(nodes, name))} for name in resources],
                    }
                    for flavor, nodes in groups.items()
                ],
            }
        ],
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
