"""JupyterHub (R26)."""

import json
from typing import Any, ClassVar

import pulumi

from components.layer import BLOCK, LOCAL, NFS, Layer, LayerArgs, Values, ingress_values
from components.workspaces import profiles
from config.hosts import Node
from config.layers import page_host
from config.site import Site

GROUP_FILTER = """\
import json
ALLOWED = json.loads({allowed!r})
def profile_list(spawner):
    groups = {{group.name for group in spawner.user.groups}}
    return [p for p in {profiles} if not ALLOWED[p["slug"]] or groups & set(ALLOWED[p["slug"]])]
c.KubeSpawner.profile_list = profile_list
"""
"""A user sees only the profiles of their groups; the hub filters them, not the page."""


class JupyterHub(Layer):
    """JupyterHub with profiles made from the GPUs.

    Creates: namespace, release.
    Waits for: hub and proxy.
    Secret: the password of the `dummy` authenticator.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:JupyterHub"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        password = self.secrets["hub-password"]
        self.ready = (self.add_release("jupyterhub", values(self.site, self.nodes, password)),)
        self.register_outputs({})


def hub_host(site: Site) -> str:
    """Host name of the hub's page."""
    return page_host(site, "jupyterhub")


def _storage_class(site: Site) -> str:
    """Storage class of the homes; the campus's NFS server first (R26)."""
    storage = site.platform.storage
    return NFS if storage.nfs else BLOCK if storage.ceph.enabled else LOCAL


def _authentication(site: Site, password: pulumi.Input[str]) -> Values:
    hub = site.workspaces.jupyterhub
    rules = {"admin_groups": list(hub.admin_groups), "allowed_groups": list(hub.allowed_groups)}
    if hub.authenticator == "dummy":
        # One shared password and no identity provider; for the lab only.
        return {
            "JupyterHub": {"authenticator_class": "dummy"},
            "DummyAuthenticator": {"password": password, "allow_all": True},
        }
    return {
        "JupyterHub": {"authenticator_class": "generic-oauth"},
        "GenericOAuthenticator": {
            "oauth_callback_url": f"https://{hub_host(site)}/hub/oauth_callback",
            "scope": ["openid", "profile", "email", "groups"],
            "username_claim": "preferred_username",
            # OAuthenticator 17: group rules need `manage_groups`, and without a rule nobody is admitted.
            "manage_groups": True,
            "auth_state_groups_key": "oauth_user.groups",
            "enable_auth_state": True,
            "allow_all": False,
            **rules,
        },
    }


def values(site: Site, nodes: tuple[Node, ...], password: pulumi.Input[str]) -> Values:
    """Chart values."""
    offered = profiles.effective_profiles(site, nodes)
    spawned = [profiles.spawner_profile(profile, nodes) for profile in offered]
    hub: dict[str, Any] = {"config": _authentication(site, password)}
    singleuser: dict[str, Any] = {
        "storage": {
            "type": "dynamic",
            "capacity": f"{site.workspaces.jupyterhub.home // 1024}Gi",
            "dynamic": {"storageClass": _storage_class(site)},
            # PyTorch's data loaders share memory between processes; the default is 64 MiB.
            "extraVolumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
            "extraVolumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - in the pod
        },
        # The alternative is a privileged init container, which the level `restricted` refuses.
        "cloudMetadata": {"blockWithIptables": False},
        "networkPolicy": {"enabled": True},
        "extraPodConfig": {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}},
        "allowPrivilegeEscalation": False,
    }
    if any(profile.groups for profile in offered):
        allowed = json.dumps({profile.name: list(profile.groups) for profile in offered})
        hub["extraConfig"] = {"profiles": GROUP_FILTER.format(allowed=allowed, profiles=spawned)}
    else:
        singleuser["profileList"] = spawned
    return {
        "hub": hub,
        "singleuser": singleuser,
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
