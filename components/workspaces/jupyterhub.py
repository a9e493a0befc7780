"""JupyterHub (R26)."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pulumi

from components.layer import (
    BLOCK,
    LOCAL,
    MONITORING,
    MONITORING_API,
    NFS,
    QUEUE,
    QUEUE_API,
    QUEUE_LABEL,
    Layer,
    LayerArgs,
    Values,
    ingress_values,
)
from components.workspaces import profiles
from config.hosts import Node
from config.identity import Oidc
from config.layers import page_host
from config.site import OIDC_CA_FILE, Site
from config.workspaces import Profile

HUB_MODULE = (Path(__file__).parent / "hub" / "lyceum_hub.py").read_text()
"""What the hub decides itself; the chart mounts it beside its own configuration, from where it can be imported."""
MOUNTED_AT = "/usr/local/etc/jupyterhub"
LOGIN_CA = f"{MOUNTED_AT}/login-ca.crt"
CALL_HUB_MODULE = "import lyceum_hub\nlyceum_hub.configure(c, get_config('custom.lyceum'))\n"
NOTEBOOK_QUEUE = "notebooks"
"""LocalQueue of the notebooks, in the hub's namespace; it leads to the queue of all jobs."""
LONGEST_WAIT_SECONDS = 12 * 3600
"""How long a notebook may wait in its queue."""
START_SECONDS = 1200
"""How long a start may take once it is its turn: an image of ten GiB takes minutes to pull."""
SECURITY_CONTEXTS: Values = {
    "pod_security_context": {
        "runAsNonRoot": True,
        "fsGroup": 100,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "container_security_context": {
        "runAsUser": 1000,
        "runAsGroup": 100,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    },
}
"""Of a notebook's pod, whole: the level `restricted`, and user and group of Jupyter's images, who own the home volume.

Not `singleuser.extraPodConfig`: that replaces KubeSpawner's own context, and the home is then not writable.
"""

MONITOR: Values = {
    "selector": {"matchLabels": {"app": "jupyterhub", "component": "hub"}},
    "endpoints": [
        {
            "port": "hub",
            "path": "/hub/metrics",
            # The chart makes a token for each service that is named in its values.
            "authorization": {"credentials": {"name": "hub", "key": "hub.services.prometheus.apiToken"}},
        }
    ],
}
"""How Prometheus reads the hub's metrics; the chart has no monitor of its own."""


class JupyterHub(Layer):
    """JupyterHub with profiles made from the GPUs.

    Creates: namespace, release, a monitor of the hub; where jobs wait in queues, a LocalQueue for the notebooks.
    Waits for: hub and proxy.
    Secret: the client's secret at the identity provider, or the password of the `dummy` authenticator.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:JupyterHub"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("jupyterhub", values(self.site, self.nodes, self.secrets, self.files))
        self.ready = (release,)
        if self.site.platform.queues.enabled:
            namespace = self.record.release("jupyterhub").namespace
            spec = {"clusterQueue": QUEUE}
            local = self.add_custom_resource(
                NOTEBOOK_QUEUE, "LocalQueue", QUEUE_API, spec, after=[release], namespace=namespace
            )
            self.ready = (release, local)
        if self.site.platform.monitoring.enabled:
            namespace = self.record.release("jupyterhub").namespace
            self.add_custom_resource(
                "hub", "ServiceMonitor", MONITORING_API, MONITOR, after=[release], namespace=namespace
            )
        self.register_outputs({})


def hub_host(site: Site) -> str:
    """Host name of the hub's page."""
    return page_host(site, "jupyterhub")


def _storage_class(site: Site) -> str:
    """Storage class of the homes; the campus's NFS server first (R26)."""
    storage = site.platform.storage
    return NFS if storage.nfs else BLOCK if storage.ceph.enabled else LOCAL


def _authentication(site: Site, secrets: Mapping[str, pulumi.Input[str]]) -> Values:
    """Sections of `hub.config`: who may log in, and how."""
    hub = site.workspaces.jupyterhub
    if hub.authenticator == "dummy":
        # One shared password and no identity provider; for the lab only.
        return {
            "JupyterHub": {"authenticator_class": "dummy"},
            "DummyAuthenticator": {"password": secrets["hub-password"], "allow_all": True},
        }
    traits: Values = {}
    if provider := site.identity.oidc:
        traits = provider_traits(provider, hub_host(site)) | {"client_secret": secrets["oidc-client-secret"]}
    # Without one (Authentik on the cluster is planned) the hub tells people so and admits nobody.
    return {
        "JupyterHub": {"authenticator_class": "generic-oauth"},
        "CampusAuthenticator": {
            **traits,
            # OAuthenticator 17: group rules need `manage_groups`, and without a rule nobody is admitted.
            "manage_groups": True,
            "enable_auth_state": True,
            # Seconds after which groups are asked for again; they are at every start, too.
            "auth_refresh_age": 240,
            "allow_all": False,
            "admin_groups": list(hub.admin_groups),
            "allowed_groups": list(hub.allowed_groups),
        },
    }


def provider_traits(provider: Oidc, host: str) -> Values:
    """What OAuthenticator is told about a provider, except the client's secret."""
    traits: Values = {
        "client_id": provider.client_id,
        "issuer": str(provider.issuer),
        "oauth_callback_url": f"https://{host}/hub/oauth_callback",
        "after_logout_url": f"https://{host}/hub/",
        "login_service": "your campus account",
        "scope": list(provider.scopes),
        "username_claim": provider.username_claim,
        "auth_state_groups_key": f"oauth_user.{provider.groups_claim}",
        "userdata_from_id_token": provider.claims_in == "id-token",
    }
    if given := provider.endpoints:
        traits["endpoints"] = {
            "authorization_endpoint": str(given.authorize_url),
            "token_endpoint": str(given.token_url),
            "userinfo_endpoint": str(given.userinfo_url),
            **({"end_session_endpoint": str(given.logout_url)} if given.logout_url else {}),
        }
    if provider.ca_file:
        traits["http_request_kwargs"] = {"ca_certs": LOGIN_CA}
    return traits


def hub_profile(profile: Profile, nodes: tuple[Node, ...], *, queued: bool) -> Values:
    """A profile as `lyceum_hub` takes it: the chart's form, the groups that may start it, and the queue of the notebooks.

    Those without a GPU wait there too: the queue promises jobs all that is left for people, cores and memory as well.
    """
    made = profiles.spawner_profile(profile, nodes) | {"groups": list(profile.groups)}
    if queued:
        made["kubespawner_override"]["extra_labels"] = {QUEUE_LABEL: NOTEBOOK_QUEUE}
    return made


def _metrics_access(site: Site) -> Values:
    """The hub's values that let Prometheus, and no other pod of its namespace, read /hub/metrics."""
    if not site.platform.monitoring.enabled:
        return {}
    source = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    return {
        "services": {"prometheus": {"display": False}},
        "loadRoles": {"prometheus": {"scopes": ["read:metrics"], "services": ["prometheus"]}},
        "networkPolicy": {"ingress": [{"from": [source], "ports": [{"port": 8081}]}]},
    }


def _hub_files(site: Site, files: Mapping[str, str]) -> Values:
    """`hub.extraFiles`: the hub's own module, and the CA of the identity provider."""
    mounted = {"lyceum_hub.py": {"mountPath": f"{MOUNTED_AT}/lyceum_hub.py", "stringData": HUB_MODULE}}
    if site.identity.oidc and site.identity.oidc.ca_file:
        # The chart refuses an empty file. A preview runs where the CA is not.
        ca = files.get(OIDC_CA_FILE) or f"# {OIDC_CA_FILE} was not there\n"
        mounted["login-ca.crt"] = {"mountPath": LOGIN_CA, "stringData": ca}
    return mounted


def values(
    site: Site, nodes: tuple[Node, ...], secrets: Mapping[str, pulumi.Input[str]], files: Mapping[str, str]
) -> Values:
    """Chart values.

    Args:
        site: The campus.
        nodes: Nodes in service.
        secrets: `oidc-client-secret` or `hub-password`, as the site logs in.
        files: Contents of the files that the site names, by setting.
    """
    wanted = site.workspaces.jupyterhub
    offered = [
        hub_profile(profile, nodes, queued=site.platform.queues.enabled)
        for profile in profiles.effective_profiles(site, nodes)
    ]
    return {
        "custom": {
            "lyceum": {
                "provider": wanted.authenticator == "oauth",
                "profiles": offered,
                "start-seconds": START_SECONDS,
            }
        },
        "hub": {
            "config": {**_authentication(site, secrets), "KubeSpawner": SECURITY_CONTEXTS},
            "extraFiles": _hub_files(site, files),
            "extraConfig": {"lyceum": CALL_HUB_MODULE},
            # A refused profile and a start that takes too long count as failures, and the chart's hub ends after five.
            "consecutiveFailureLimit": 0,
            # Who waits in a queue counts as well: the chart's 64 would keep everybody else from starting.
            "concurrentSpawnLimit": 0,
            **_metrics_access(site),
        },
        "singleuser": {
            "storage": {
                "type": "dynamic",
                "capacity": f"{wanted.home // 1024}Gi",
                "dynamic": {"storageClass": _storage_class(site)},
                # PyTorch's data loaders share memory between processes; the default is 64 MiB.
                "extraVolumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
                "extraVolumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - in the pod
            },
            # The alternative is a privileged init container, which the level `restricted` refuses.
            "cloudMetadata": {"blockWithIptables": False},
            "networkPolicy": {"enabled": True},
            "startTimeout": LONGEST_WAIT_SECONDS,
        },
        "proxy": {"service": {"type": "ClusterIP"}},
        "ingress": ingress_values(site, hub_host(site), "jupyterhub-tls"),
        "scheduling": {
            # The chart brings kube-scheduler 1.30, which does not support Kubernetes 1.36.
            "userScheduler": {"enabled": False},
            "userPlaceholder": {"enabled": False},
        },
        # GPU images are ten GiB and more: an upgrade must not wait until every node has pulled them.
        "prePuller": {"hook": {"enabled": False}, "continuous": {"enabled": False}},
        "cull": {"enabled": True, "timeout": 3600, "every": 600},
    }
