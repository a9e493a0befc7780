"""KWOK as the kubelet of one host: it renews the node's Lease and makes the host's pods run, while the host lives.

One KWOK per host, so that a dead host is silent by itself: nothing else could report its pods. Its access is the
node's own (Node authorizer and NodeRestriction hold), plus listing Nodes, which KWOK does once, and watching Leases.
"""

from typing import Any

import yaml

from lab.real_pods import LABEL, REAL

LEASE_SECONDS = 40
"""The kubelet's nodeLeaseDurationSeconds; renewed every quarter of it."""

EXIT_CODE = "lab.lyceum/exit-code"
"""Annotation of a Job's pod: the exit code of its containers; zero when it is missing."""

_API = "kwok.x-k8s.io/v1alpha1"

_CONDITIONS = """\
{{ $now := Now | Quote }}
conditions:
- {type: MemoryPressure, status: "False", reason: KubeletHasSufficientMemory,
   message: kubelet has sufficient memory available, lastHeartbeatTime: {{ $now }}, lastTransitionTime: {{ $now }}}
- {type: DiskPressure, status: "False", reason: KubeletHasNoDiskPressure,
   message: kubelet has no disk pressure, lastHeartbeatTime: {{ $now }}, lastTransitionTime: {{ $now }}}
- {type: PIDPressure, status: "False", reason: KubeletHasSufficientPID,
   message: kubelet has sufficient PID available, lastHeartbeatTime: {{ $now }}, lastTransitionTime: {{ $now }}}
- {type: Ready, status: "True", reason: KubeletReady,
   message: kubelet is posting ready status, lastHeartbeatTime: {{ $now }}, lastTransitionTime: {{ $now }}}
"""

_RUNNING = """\
{{ $now := Now | Quote }}
phase: Running
startTime: {{ $now }}
conditions:
- {type: PodReadyToStartContainers, status: "True", lastTransitionTime: {{ $now }}}
- {type: Initialized, status: "True", lastTransitionTime: {{ $now }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now }}}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, started: true, restartCount: 0,
   state: {running: {startedAt: {{ $now }}}}}
{{ end }}
{{ if .spec.initContainers }}
initContainerStatuses:
{{ range .spec.initContainers }}
{{ if eq (or .restartPolicy "") "Always" }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, started: true, restartCount: 0,
   state: {running: {startedAt: {{ $now }}}}}
{{ else }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, started: false, restartCount: 0,
   state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now }}, finishedAt: {{ $now }}}}}
{{ end }}
{{ end }}
{{ end }}
{{ $hosts := NodeIPsWith .spec.nodeName }}
{{ with $hosts }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ $pods := PodIPsWith .spec.nodeName (or .spec.hostNetwork false) (or .metadata.uid "") (or .metadata.name "")
   (or .metadata.namespace "") }}
{{ with $pods }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
"""

_READY_AGAIN = """\
{{ $now := Now | Quote }}
conditions:
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now }}}
"""

_FINISHED = """\
{{ $now := Now | Quote }}
{{ $code := or (index (or .metadata.annotations dict) "%s") "0" }}
{{ $good := eq $code "0" }}
phase: {{ if $good }}Succeeded{{ else }}Failed{{ end }}
conditions:
- {type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now }}}
- {type: ContainersReady, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now }}}
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, started: false, restartCount: 0,
   state: {terminated: {exitCode: {{ $code }}, reason: {{ if $good }}Completed{{ else }}Error{{ end }},
   startedAt: {{ $now }}, finishedAt: {{ $now }}}}}
{{ end }}
"""

_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'


def _build_stage(
    name: str, kind: str, selector: list[dict[str, Any]], next_: dict[str, Any], delay: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": selector},
            **({"delay": delay} if delay else {}),
            "next": next_,
        },
    }


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def build_configuration(node_name: str, *, real: bool = False) -> str:
    """Return KWOK's configuration for one host: what happens to nodes and pods, and when.

    On a real node a kubelet keeps the Node, its Lease and the pods marked real, and KWOK the other pods only.
    """
    deletion = ".metadata.deletionTimestamp"
    documents = [
        {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokConfiguration",
            "options": {
                "manageSingleNode": node_name,
                "manageAllNodes": False,
                "nodeLeaseDurationSeconds": LEASE_SECONDS,
                "nodeLeaseParallelism": 1,
                "nodePlayStageParallelism": 1,
                "podPlayStageParallelism": 4,
                "podsOnNodeSyncParallelism": 1,
            },
        },
        _build_stage("node-ready", "Node", [_expression(_READY, "NotIn", "True")], {"statusTemplate": _CONDITIONS}),
        _build_stage(
            # The kubelet's nodeStatusReportFrequency: five minutes when nothing changes.
            "node-heartbeat",
            "Node",
            [_expression(_READY, "In", "True")],
            {"statusTemplate": _CONDITIONS},
            {"durationMilliseconds": 300_000, "jitterDurationMilliseconds": 330_000},
        ),
        _build_stage(
            "pod-run",
            "Pod",
            [
                _expression(deletion, "DoesNotExist"),
                _expression(".status.phase", "In", "Pending"),
                _expression(_READY, "NotIn", "True"),
            ],
            {"statusTemplate": _RUNNING},
        ),
        _build_stage(
            # When a node was silent for a while, its pods are marked unready; only their own kubelet says otherwise.
            "pod-ready-again",
            "Pod",
            [
                _expression(deletion, "DoesNotExist"),
                _expression(".status.phase", "In", "Running"),
                _expression(_READY, "NotIn", "True"),
            ],
            {"statusTemplate": _READY_AGAIN},
        ),
        _build_stage(
            "pod-finish",
            "Pod",
            [
                _expression(deletion, "DoesNotExist"),
                _expression(".status.phase", "In", "Running"),
                _expression(".spec.restartPolicy", "In", "Never", "OnFailure"),
                _expression(".metadata.ownerReferences.[].kind", "In", "Job"),
            ],
            {"statusTemplate": _FINISHED % EXIT_CODE},
            {"durationMilliseconds": 1000},
        ),
        _build_stage("pod-delete", "Pod", [_expression(deletion, "Exists")], {"delete": True}),
    ]
    return yaml.safe_dump_all(_beside_kubelet(documents) if real else documents, sort_keys=False)


def _beside_kubelet(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    configuration, *stages = documents
    configuration["options"] |= {"nodeLeaseDurationSeconds": 0, "disregardStatusWithLabelSelector": f"{LABEL}={REAL}"}
    # Without a Stage of Nodes KWOK 0.8 takes no node for its own, and leaves its pods pending.
    never = _expression('.metadata.annotations["lab.lyceum/never"]', "Exists")
    idle = _build_stage("node-never", "Node", [never], {"statusTemplate": ""})
    return [configuration, idle, *(stage for stage in stages if stage["spec"]["resourceRef"]["kind"] == "Pod")]


def command(kubeconfig: str, config: str, node_name: str, node_ip: str) -> list[str]:
    """Return KWOK's command line for one host."""
    return [
        "kwok",
        f"--kubeconfig={kubeconfig}",
        f"--config={config}",
        f"--node-ip={node_ip}",
        f"--node-name={node_name}",
    ]


_GROUP = "rbac.authorization.k8s.io"

ACCESS_RULES: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "lab.lyceum:kwok"},
        "rules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list", "watch"]},
        ],
    },
    {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "lab.lyceum:kwok"},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": "lab.lyceum:kwok"},
        "subjects": [{"apiGroup": _GROUP, "kind": "Group", "name": "system:nodes"}],
    },
)
"""What a node may do beyond a kubelet's rights, so that KWOK can stand for the kubelet."""
