"""Command lines of the control plane, as K3s builds them; `*-arg` settings override single flags."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.k3s.config import Options
from lab.k3s.paths import Paths

LAB_DISABLED_ADMISSION = ("MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")
"""Off where no pod is real: a webhook whose server KWOK only pretends to run would refuse every later request."""


def _command(component: str, flags: Mapping[str, str], extra: Sequence[str]) -> list[str]:
    """Merge `flag=value` settings over the defaults; the same flag given twice in `extra` is passed twice."""
    settings = [(name.lstrip("-"), value or "true") for name, _, value in (item.partition("=") for item in extra)]
    given = {name for name, _ in settings}
    defaults = [(name, value) for name, value in flags.items() if name not in given]
    return ["kube", component, *(f"--{name}={value}" for name, value in [*defaults, *settings])]


def etcd(paths: Paths, options: Options, name: str, node_ip: str, initial_cluster: str, *, new: bool) -> list[str]:
    """Return etcd's command line.

    `initial_cluster` has `name=peer-url` pairs, this server's among them, and is only read by a member without data;
    `new` says whether this start founds the cluster.
    """
    tls = paths.tls / "etcd"
    metrics = f"http://127.0.0.1:2381{f',http://{node_ip}:2381' if options.on('etcd-expose-metrics') else ''}"
    flags = {
        "name": name,
        "data-dir": str(paths.etcd),
        "listen-client-urls": f"https://127.0.0.1:2379,https://{node_ip}:2379",
        "advertise-client-urls": f"https://{node_ip}:2379",
        "listen-peer-urls": f"https://127.0.0.1:2380,https://{node_ip}:2380",
        "initial-advertise-peer-urls": f"https://{node_ip}:2380",
        "initial-cluster": initial_cluster,
        "initial-cluster-state": "new" if new else "existing",
        "listen-metrics-urls": metrics,
        "client-cert-auth": "true",
        "trusted-ca-file": str(tls / "server-ca.crt"),
        "cert-file": str(tls / "server-client.crt"),
        "key-file": str(tls / "server-client.key"),
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": str(tls / "peer-ca.crt"),
        "peer-cert-file": str(tls / "peer-server-client.crt"),
        "peer-key-file": str(tls / "peer-server-client.key"),
        # K3s has 500 and 5000 ms. Half of it still rides out a busy laptop, and a lost leader is replaced sooner.
        "heartbeat-interval": "250",
        "election-timeout": "2500",
        "snapshot-count": "10000",
        # etcd's default is one learner, and five quiet seconds between two: here two servers may join at once.
        "max-learners": "3",
        "log-level": "warn",
        # The lab's disks are a directory of one machine: it need not survive its power failure.
        "unsafe-no-fsync": "true",
    }
    return _command("etcd", flags, options.many("etcd-arg"))


def apiserver(paths: Paths, options: Options, node_ip: str, *, webhooks: bool = False) -> list[str]:
    """Return kube-apiserver's command line; `webhooks` says whether admission webhooks have servers."""
    tls = paths.tls
    flags = {
        "advertise-address": options.text("advertise-address") or node_ip,
        "secure-port": options.text("https-listen-port"),
        "bind-address": options.text("bind-address") or "0.0.0.0",  # noqa: S104 (K3s's default)
        "allow-privileged": "true",
        "anonymous-auth": "false",
        "authorization-mode": "Node,RBAC",
        "cert-dir": str(tls / "temporary-certs"),
        "client-ca-file": str(tls / "client-ca.crt"),
        "enable-admission-plugins": "NodeRestriction",
        **({} if webhooks else {"disable-admission-plugins": ",".join(LAB_DISABLED_ADMISSION)}),
        "enable-aggregator-routing": "true",
        "enable-bootstrap-token-auth": "true",
        "etcd-servers": "https://127.0.0.1:2379",
        "etcd-cafile": str(tls / "etcd" / "server-ca.crt"),
        "etcd-certfile": str(tls / "etcd" / "client.crt"),
        "etcd-keyfile": str(tls / "etcd" / "client.key"),
        "kubelet-certificate-authority": str(tls / "server-ca.crt"),
        "kubelet-client-certificate": str(tls / "client-kube-apiserver.crt"),
        "kubelet-client-key": str(tls / "client-kube-apiserver.key"),
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "profiling": "false",
        "proxy-client-cert-file": str(tls / "client-auth-proxy.crt"),
        "proxy-client-key-file": str(tls / "client-auth-proxy.key"),
        "requestheader-allowed-names": "system:auth-proxy",
        "requestheader-client-ca-file": str(tls / "request-header-ca.crt"),
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "service-account-issuer": f"https://kubernetes.default.svc.{options.text('cluster-domain')}",
        "service-account-key-file": str(tls / "service.key"),
        "service-account-signing-key-file": str(tls / "service.key"),
        "service-cluster-ip-range": ",".join(options.many("service-cidr")),
        "service-node-port-range": options.text("service-node-port-range"),
        "tls-cert-file": str(tls / "serving-kube-apiserver.crt"),
        "tls-private-key-file": str(tls / "serving-kube-apiserver.key"),
    }
    if (paths.cred / "encryption-config.json").exists():
        flags["encryption-provider-config"] = str(paths.cred / "encryption-config.json")
        flags["encryption-provider-config-automatic-reload"] = "true"
    extra = options.many("kube-apiserver-arg")
    if not webhooks:
        extra = tuple(_with_webhooks_disabled(item) for item in extra)
    return _command("kube-apiserver", flags, extra)


def _with_webhooks_disabled(setting: str) -> str:
    name, _, value = setting.partition("=")
    if name.lstrip("-") != "disable-admission-plugins":
        return setting
    plugins = dict.fromkeys([*filter(None, value.split(",")), *LAB_DISABLED_ADMISSION])
    return f"{name}={','.join(plugins)}"


def _secure_port(paths: Paths, component: str) -> dict[str, str]:
    certificate = paths.tls / component / component
    return {
        "bind-address": "127.0.0.1",
        "tls-cert-file": f"{certificate}.crt",
        "tls-private-key-file": f"{certificate}.key",
        "profiling": "false",
        "leader-elect": "true",
    }


def _client(kubeconfig: Path) -> dict[str, str]:
    names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return dict.fromkeys(names, str(kubeconfig))


def controller_manager(paths: Paths, options: Options) -> list[str]:
    """Return kube-controller-manager's command line."""
    tls = paths.tls
    flags = {
        **_secure_port(paths, "kube-controller-manager"),
        **_client(paths.cred / "controller.kubeconfig"),
        "allocate-node-cidrs": "true",
        "cluster-cidr": ",".join(options.many("cluster-cidr")),
        "service-cluster-ip-range": ",".join(options.many("service-cidr")),
        "cluster-signing-cert-file": str(tls / "client-ca.crt"),
        "cluster-signing-key-file": str(tls / "client-ca.key"),
        "configure-cloud-routes": "false",
        "controllers": "*,tokencleaner,-service-lb-controller,-node-route-controller,-cloud-node-lifecycle-controller",
        "root-ca-file": str(tls / "server-ca.crt"),
        "service-account-private-key-file": str(tls / "service.key"),
        "use-service-account-credentials": "true",
    }
    extra = (*options.many("kube-controller-manager-arg"), *options.many("kube-controller-arg"))
    return _command("kube-controller-manager", flags, extra)


def scheduler(paths: Paths, options: Options, config: Path | None = None) -> list[str]:
    """Return kube-scheduler's command line; `config` is its configuration file, where it has one."""
    flags = {**_secure_port(paths, "kube-scheduler"), **_client(paths.cred / "scheduler.kubeconfig")}
    if config is not None:
        flags["config"] = str(config)
    return _command("kube-scheduler", flags, options.many("kube-scheduler-arg"))
