"""Which pods are real: marked when they are created, and scheduled to real nodes.

A pod is marked by one label and not changed otherwise. The scheduler asks an extender where a real pod may go, so that
nothing in the pod or on the nodes tells that some of them are simulated.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.k3s import log
from lab.k3s.client import SUPERVISOR_PORT
from lab.kubernetes import KubeClient, KubernetesError
from lab.real_pods import LABEL, REAL, SIMULATED, RealPods

Object = dict[str, Any]

EXTENDER_PATH = "/lab/scheduler"
_NAME = "lab.lyceum-real-pods"
_REGISTRATION = "admissionregistration.k8s.io/v1"
_IMAGES = (
    "object.spec.containers.map(c, c.image)"
    " + (has(object.spec.initContainers) ? object.spec.initContainers.map(c, c.image) : [])"
)


def build_policy(images: Sequence[str]) -> list[Object]:
    """The ConfigMap of the lab's images, and the admission policy that labels each new pod by it."""
    mark = f'variables.images.all(image, image in variables.known) ? "{REAL}" : "{SIMULATED}"'
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "lab-images", "namespace": "kube-system"},
            "data": {"images": "\n".join(sorted(images))},
        },
        {
            "apiVersion": _REGISTRATION,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": _NAME},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "matchConstraints": {
                    "resourceRules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                    ]
                },
                "matchConditions": [
                    {
                        "name": "not-marked",
                        "expression": f"!has(object.metadata.labels) || !('{LABEL}' in object.metadata.labels)",
                    }
                ],
                "variables": [
                    {"name": "images", "expression": _IMAGES},
                    {"name": "known", "expression": r"params.data.images.split('\n')"},
                ],
                "mutations": [
                    {
                        "patchType": "ApplyConfiguration",
                        "applyConfiguration": {
                            "expression": f'Object{{metadata: Object.metadata{{labels: {{"{LABEL}": {mark}}}}}}}'
                        },
                    }
                ],
            },
        },
        {
            "apiVersion": _REGISTRATION,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": _NAME},
            "spec": {
                "policyName": _NAME,
                "paramRef": {"name": "lab-images", "namespace": "kube-system", "parameterNotFoundAction": "Deny"},
            },
        },
    ]


async def mark_pods(kube: KubeClient, images: Sequence[str]) -> None:
    """Install the policy, and return once it marks: a pod of a moment before would be simulated for ever."""
    known = await kube.get(f"/apis/{_REGISTRATION}/mutatingadmissionpolicies/{_NAME}")
    for item in build_policy(images):
        await kube.apply(item, "k3s")
    if known:
        return
    container = {"name": "main", "image": "registry.invalid/none"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": {"containers": [container]}}
    while True:
        try:
            made = await kube.call("POST", "/api/v1/namespaces/kube-system/pods", pod, query={"dryRun": "All"})
            if LABEL in made["metadata"].get("labels", {}):
                return
        except KubernetesError as error:
            log.info(f"Waiting for the policy that marks pods: {error}")
        await asyncio.sleep(0.1)


def scheduler_settings(kubeconfig: Path, authority: Path) -> str:
    """KubeSchedulerConfiguration with the extender that this server's supervisor serves."""
    settings: Object = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "leaderElection": {"leaderElect": True},
        "extenders": [
            {
                "urlPrefix": f"https://127.0.0.1:{SUPERVISOR_PORT}{EXTENDER_PATH}",
                "filterVerb": "filter",
                "enableHTTPS": True,
                "tlsConfig": {"caFile": str(authority)},
                "nodeCacheCapable": True,
                "ignorable": True,
            }
        ],
    }
    return yaml.safe_dump(settings, sort_keys=False)


def filter_nodes(question: Object, pods: RealPods) -> Object:
    """Answer the scheduler (ExtenderArgs, ExtenderFilterResult): of nodes that fit a real pod, those that are real.

    Pods of DaemonSets stay: each is bound to its node already, and on the others it is simulated.
    """
    metadata: Object = question["Pod"].get("metadata") or {}
    names: list[str] = question.get("NodeNames") or []
    owners = {owner["kind"] for owner in metadata.get("ownerReferences") or []}
    if (metadata.get("labels") or {}).get(LABEL) != REAL or "DaemonSet" in owners:
        return {"NodeNames": names}
    why = f"the lab runs real pods on {', '.join(pods.nodes)} only"
    return {
        "NodeNames": [name for name in names if name in pods.nodes],
        "FailedAndUnresolvableNodes": {name: why for name in names if name not in pods.nodes},
    }
