"""K3s's configuration on each node: config.yaml, manifests, hardening. Pure: settings in, text out."""

from typing import Any

import yaml

from config.allocatable import EVICTION_HARD, kube_reserved, system_reserved
from config.hosts import Node, Role
from config.node_labels import node_labels
from config.services import SNAPSHOT_SECRET
from config.site import Site

TAINT_SERVER = "node-role.kubernetes.io/control-plane=true:NoSchedule"
"""R23."""
TOKEN_FILE = "/etc/rancher/k3s/token"  # noqa: S105 - a path
AGENT_TOKEN_FILE = "/etc/rancher/k3s/agent-token"  # noqa: S105 - a path
RESOLV_CONF = "/etc/rancher/k3s/resolv.conf"
"""The name servers of pods."""
PSA_FILE = "/etc/rancher/k3s/admission.yaml"
SYNC_FREQUENCY = "10s"
"""How often the kubelet brings a Secret's new content to the volumes of running pods. Its default is a minute (kubelet's
reference, `--sync-frequency`): Kueue, JobSet and Trainer write their certificate themselves and wait for it there, while
Kueue's webhook keeps people's pods from starting. Kueue is ready after 13 s instead of 109 s, each time."""
MAX_NAME_SERVERS = 3
"""glibc reads no more (resolv.conf(5)), and the kubelet warns of more."""
AUDIT_FILE = "/etc/rancher/k3s/audit.yaml"
AUDIT_LOG = "/var/lib/rancher/k3s/server/logs/audit.log"
SYSCTLS = {"vm.panic_on_oom": 0, "vm.overcommit_memory": 1, "kernel.panic": 10, "kernel.panic_on_oops": 1}
"""What `protect-kernel-defaults` requires; the kubelet refuses to start without them (K3s CIS hardening guide)."""
CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)


def api_url(site: Site) -> str:
    """URL of the Kubernetes API at the virtual IP, whichever server holds it."""
    return f"https://{site.network.api_address}:6443"


def resolv_conf(site: Site) -> str:
    """The name servers that pods use for names outside the cluster, without a search domain.

    The nodes have one. In pods names with fewer than five dots are tried with it first (`ndots:5`): with a wildcard record of the
    site's domain, github.com would be our ingress.
    """
    return "".join(f"nameserver {server}\n" for server in site.network.dns[:MAX_NAME_SERVERS])


def labels_manifest(nodes: tuple[Node, ...]) -> str:
    """Node objects with nothing but their labels, for `kubectl apply --server-side`; it takes away what a site file no longer has."""
    objects = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": node_labels(node)}}
        for node in nodes
    ]
    return "---\n".join(_to_yaml(one) for one in objects)


def node_taints(node: Node) -> list[str]:
    """Taints that the node gets when it first registers."""
    return [*([TAINT_SERVER] if node.role is Role.SERVER else []), *node.taints]


def _kubelet_args(node: Node) -> list[str]:
    return [
        f"kube-reserved={kube_reserved(node).as_reservation}",
        f"system-reserved={system_reserved(node).as_reservation}",
        f"eviction-hard={EVICTION_HARD}",
        f"sync-frequency={SYNC_FREQUENCY}",
        "streaming-connection-idle-timeout=5m",
        "read-only-port=0",
        "pod-max-pids=4096",
        f"tls-cipher-suites={','.join(CIPHERS)}",
    ]


def _common_settings(node: Node) -> dict[str, Any]:
    return {
        "node-name": node.name,
        "node-ip": str(node.address),
        "node-label": [f"{key}={value}" for key, value in sorted(node_labels(node).items())],
        "node-taint": node_taints(node),
        "protect-kernel-defaults": True,
        "kubelet-arg": _kubelet_args(node),
        "resolv-conf": RESOLV_CONF,
        "token-file": TOKEN_FILE,
    }


def agent_config(node: Node) -> str:
    """config.yaml of an agent; the token and the server's address are in separate files."""
    return _to_yaml(_common_settings(node))


def server_config(node: Node, site: Site) -> str:
    """config.yaml of a server; keys that must be identical on all servers are the same by construction.

    Whether it founds or joins the cluster is in config.yaml.d/10-join.yaml, which node.sh writes.
    """
    config = _common_settings(node) | {
        "agent-token-file": AGENT_TOKEN_FILE,
        "tls-san": [str(site.network.api_address), *site.k3s.api_names],
        "write-kubeconfig-mode": "0600",
        "flannel-backend": site.k3s.flannel,
        "cluster-cidr": str(site.network.pods),
        "service-cidr": str(site.network.services),
        # runtimes: the GPU Operator's NRI mode replaces RuntimeClasses; a second owner breaks pods that name one.
        "disable": sorted(
            ["traefik", "servicelb", "runtimes", *(["local-storage"] if site.platform.storage.ceph.enabled else [])]
        ),
        "secrets-encryption": True,
        "etcd-expose-metrics": True,
        "etcd-snapshot-schedule-cron": site.k3s.snapshots.schedule,
        "etcd-snapshot-retention": site.k3s.snapshots.keep,
        **_s3_settings(site),
        "kube-apiserver-arg": [
            "enable-admission-plugins=NodeRestriction,EventRateLimit,DenyServiceExternalIPs",
            f"admission-control-config-file={PSA_FILE}",
            f"audit-policy-file={AUDIT_FILE}",
            f"audit-log-path={AUDIT_LOG}",
            "audit-log-maxage=30",
            "audit-log-maxbackup=10",
            "audit-log-maxsize=100",
            "service-account-extend-token-expiration=false",
        ],
        "kube-controller-manager-arg": ["terminated-pod-gc-threshold=100"],
    }
    return _to_yaml(config)


def _s3_settings(site: Site) -> dict[str, Any]:
    """Uploads of snapshots to S3; with any other etcd-s3 flag K3s would ignore the Secret, which holds the keys."""
    return {"etcd-s3": True, "etcd-s3-config-secret": SNAPSHOT_SECRET} if site.platform.backup.s3 else {}


def admission_configuration() -> str:
    """Admission configuration: pods are `restricted` unless their namespace sets another level; events are rate-limited.

    Without limits for EventRateLimit the API server does not start (kubernetes#62861).
    """
    level = {"enforce": "restricted", "audit": "restricted", "warn": "restricted"}
    return _to_yaml(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [
                {
                    "name": "PodSecurity",
                    "configuration": {
                        "apiVersion": "pod-security.admission.config.k8s.io/v1",
                        "kind": "PodSecurityConfiguration",
                        "defaults": level | {f"{mode}-version": "latest" for mode in level},
                        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
                    },
                },
                {
                    "name": "EventRateLimit",
                    "configuration": {
                        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                        "kind": "Configuration",
                        "limits": [
                            {"type": "Namespace", "qps": 50, "burst": 100, "cacheSize": 2000},
                            {"type": "User", "qps": 10, "burst": 50},
                        ],
                    },
                },
            ],
        }
    )


def audit_policy() -> str:
    """Audit policy: who did what to which object, without the object's content, so that no Secret is logged."""
    return _to_yaml(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        }
    )


def kube_vip_manifest(site: Site, interface: str) -> str:
    """kube-vip as a DaemonSet on the servers: ARP, control plane only; Services belong to MetalLB (kube-vip#1288)."""
    labels = {"app.kubernetes.io/name": "kube-vip"}
    environment = {
        "vip_arp": "true",
        "cp_enable": "true",
        "svc_enable": "false",
        "vip_leaderelection": "true",
        "vip_leasename": "plndr-cp-lock",
        "cp_namespace": "kube-system",
        "address": str(site.network.api_address),
        "port": "6443",
        "vip_interface": interface,
        "vip_subnet": "32",
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "kube-vip", "namespace": "kube-system"},
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "kube-vip"},
        "rules": [
            {"apiGroups": [""], "resources": ["nodes", "endpoints", "services"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "list", "watch", "create", "update", "patch"],
            },
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kube-vip"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kube-vip"},
        "subjects": [{"kind": "ServiceAccount", "name": "kube-vip", "namespace": "kube-system"}],
    }
    daemons = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-vip", "namespace": "kube-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "kube-vip",
                    "hostNetwork": True,
                    "priorityClassName": "system-node-critical",
                    "nodeSelector": {"node-role.kubernetes.io/control-plane": "true"},
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": "kube-vip",
                            "image": f"ghcr.io/kube-vip/kube-vip:{site.k3s.kube_vip}",
                            "args": ["manager"],
                            "env": [{"name": key, "value": value} for key, value in environment.items()],
                            "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}},
                        }
                    ],
                },
            },
        },
    }
    return "---\n".join(_to_yaml(document) for document in (account, role, binding, daemons))


def _to_yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False)
