"""K3s's flags as data: the list that v1.36 accepts, so that a flag it would refuse is refused here too.

Source: the command-line reference of K3s (docs.k3s.io/cli/server and /cli/agent) and its hidden flags. A server runs an
agent as well and takes the agent's flags, except the few that only `k3s agent` knows.
"""

from dataclasses import dataclass
from enum import Enum, auto


class FlagType(Enum):
    """How a flag's value is written."""

    TEXT = auto()
    BOOL = auto()
    INT = auto()
    DURATION = auto()
    LIST = auto()
    """May be given several times; commas do not separate."""


@dataclass(frozen=True)
class Flag:
    """A flag of `k3s server` or `k3s agent`."""

    name: str
    kind: FlagType
    short: str = ""
    env: str = ""


def _flags(kind: FlagType, names: str) -> tuple[Flag, ...]:
    return tuple(Flag(name, kind) for name in names.split())


_COMMON = (
    Flag("config", FlagType.TEXT, "c", "K3S_CONFIG_FILE"),
    Flag("debug", FlagType.BOOL, env="K3S_DEBUG"),
    Flag("data-dir", FlagType.TEXT, "d", "K3S_DATA_DIR"),
    Flag("log", FlagType.TEXT, "l"),
    Flag("token", FlagType.TEXT, "t", "K3S_TOKEN"),
    Flag("token-file", FlagType.TEXT, env="K3S_TOKEN_FILE"),
    Flag("server", FlagType.TEXT, "s", "K3S_URL"),
    Flag("node-name", FlagType.TEXT, env="K3S_NODE_NAME"),
    Flag("node-ip", FlagType.LIST, "i"),
    Flag("selinux", FlagType.BOOL, env="K3S_SELINUX"),
    Flag("resolv-conf", FlagType.TEXT, env="K3S_RESOLV_CONF"),
    Flag("lb-server-port", FlagType.INT, env="K3S_LB_SERVER_PORT"),
    Flag("vpn-auth", FlagType.TEXT, env="K3S_VPN_AUTH"),
    Flag("vpn-auth-file", FlagType.TEXT, env="K3S_VPN_AUTH_FILE"),
    *_flags(FlagType.INT, "v"),
    *_flags(
        FlagType.BOOL,
        "alsologtostderr with-node-id protect-kernel-defaults docker disable-default-registry-endpoint nonroot-devices "
        "rootless prefer-bundled-bin enable-pprof",
    ),
    *_flags(
        FlagType.TEXT,
        "vmodule bind-address image-credential-provider-bin-dir image-credential-provider-config "
        "container-runtime-endpoint default-runtime image-service-endpoint pause-image snapshotter private-registry "
        "flannel-iface flannel-conf flannel-cni-conf",
    ),
    *_flags(
        FlagType.LIST,
        "node-external-ip node-internal-dns node-external-dns node-label node-taint kubelet-arg kube-proxy-arg "
        "airgap-extra-registry",
    ),
)

AGENT = (*_COMMON, Flag("disable-apiserver-lb", FlagType.BOOL))

_S3 = (
    Flag("etcd-s3-access-key", FlagType.TEXT, env="AWS_ACCESS_KEY_ID"),
    Flag("etcd-s3-secret-key", FlagType.TEXT, env="AWS_SECRET_ACCESS_KEY"),
    Flag("etcd-s3-session-token", FlagType.TEXT, env="AWS_SESSION_TOKEN"),
    *_flags(FlagType.BOOL, "etcd-s3 etcd-s3-skip-ssl-verify etcd-s3-insecure"),
    *_flags(
        FlagType.TEXT,
        "etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-bucket etcd-s3-bucket-lookup-type etcd-s3-region "
        "etcd-s3-folder etcd-s3-proxy etcd-s3-config-secret",
    ),
    *_flags(FlagType.DURATION, "etcd-s3-timeout"),
    *_flags(FlagType.INT, "etcd-s3-retention"),
)

SERVER = (
    *_COMMON,
    *_S3,
    Flag("write-kubeconfig", FlagType.TEXT, "o", "K3S_KUBECONFIG_OUTPUT"),
    Flag("write-kubeconfig-mode", FlagType.TEXT, env="K3S_KUBECONFIG_MODE"),
    Flag("write-kubeconfig-group", FlagType.TEXT, env="K3S_KUBECONFIG_GROUP"),
    Flag("agent-token", FlagType.TEXT, env="K3S_AGENT_TOKEN"),
    Flag("agent-token-file", FlagType.TEXT, env="K3S_AGENT_TOKEN_FILE"),
    Flag("cluster-init", FlagType.BOOL, env="K3S_CLUSTER_INIT"),
    Flag("cluster-reset", FlagType.BOOL, env="K3S_CLUSTER_RESET"),
    Flag("datastore-endpoint", FlagType.TEXT, env="K3S_DATASTORE_ENDPOINT"),
    Flag("datastore-cafile", FlagType.TEXT, env="K3S_DATASTORE_CAFILE"),
    Flag("datastore-certfile", FlagType.TEXT, env="K3S_DATASTORE_CERTFILE"),
    Flag("datastore-keyfile", FlagType.TEXT, env="K3S_DATASTORE_KEYFILE"),
    Flag("system-default-registry", FlagType.TEXT, env="K3S_SYSTEM_DEFAULT_REGISTRY"),
    Flag("supervisor-port", FlagType.INT, env="K3S_SUPERVISOR_PORT"),
    Flag("apiserver-port", FlagType.INT, env="K3S_APISERVER_PORT"),
    Flag("apiserver-bind-address", FlagType.TEXT, env="K3S_APISERVER_BIND_ADDRESS"),
    *_flags(FlagType.INT, "https-listen-port advertise-port etcd-snapshot-retention"),
    *_flags(FlagType.DURATION, "etcd-snapshot-reconcile-interval"),
    *_flags(
        FlagType.BOOL,
        "tls-san-security flannel-ipv6-masq flannel-external-ip kine-tls etcd-expose-metrics etcd-disable-snapshots "
        "etcd-snapshot-compress disable-scheduler disable-cloud-controller disable-kube-proxy disable-network-policy "
        "disable-helm-controller disable-apiserver disable-controller-manager disable-etcd disable-agent "
        "embedded-registry supervisor-metrics secrets-encryption",
    ),
    *_flags(
        FlagType.TEXT,
        "advertise-address service-node-port-range cluster-domain flannel-backend egress-selector-mode "
        "servicelb-namespace helm-job-image cluster-reset-restore-path etcd-snapshot-name "
        "etcd-snapshot-schedule-cron etcd-snapshot-dir default-local-storage-path secrets-encryption-provider",
    ),
    *_flags(
        FlagType.LIST,
        "tls-san cluster-cidr service-cidr cluster-dns kube-apiserver-arg etcd-arg kube-controller-manager-arg "
        "kube-scheduler-arg kube-cloud-controller-manager-arg kube-controller-arg kube-cloud-controller-arg "
        "helm-controller-arg disable",
    ),
)

SNAPSHOT = (
    *(flag for flag in _COMMON if flag.name in {"config", "debug", "data-dir", "log", "node-name"}),
    Flag("name", FlagType.TEXT),
    Flag("dir", FlagType.TEXT),
    Flag("output", FlagType.TEXT, "o"),
    Flag("etcd-server", FlagType.TEXT, "s"),
    Flag("etcd-token", FlagType.TEXT, "t"),
    *_flags(FlagType.BOOL, "snapshot-compress etcd-snapshot-compress"),
    *_flags(FlagType.TEXT, "etcd-snapshot-dir etcd-snapshot-name"),
    *_flags(FlagType.INT, "snapshot-retention etcd-snapshot-retention"),
    *_S3,
)
"""Flags of `k3s etcd-snapshot`; it reads the server's configuration file and skips what is not in this list."""

DISABLE_ITEMS = ("coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes")
"""Packaged components that `disable` may name."""

CRITICAL = (
    "cluster-cidr",
    "cluster-dns",
    "cluster-domain",
    "disable-cloud-controller",
    "disable-helm-controller",
    "disable-network-policy",
    "egress-selector-mode",
    "embedded-registry",
    "flannel-backend",
    "flannel-external-ip",
    "flannel-ipv6-masq",
    "secrets-encryption",
    "secrets-encryption-provider",
    "service-cidr",
)
"""Flags that must be the same on all servers, beside the agent token and `disable=servicelb`; else a join is refused."""
