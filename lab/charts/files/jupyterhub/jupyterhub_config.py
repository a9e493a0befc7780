"""The hub's configuration from the chart's values: the lab's own reading of the chart's documentation and schema.

Used where the lab has no real archive of the chart; with one, the hub reads the chart's own. Both were compared, trait by
trait (docs/charts.md). Not read: databases other than SQLite, image pull secrets, files and metadata rules of notebooks.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path("/usr/local/etc/jupyterhub")
_MISSING = object()

HUB_TRAITS = {
    "activeServerLimit": "active_server_limit",
    "allowNamedServers": "allow_named_servers",
    "authenticatePrometheus": "authenticate_prometheus",
    "baseUrl": "base_url",
    "concurrentSpawnLimit": "concurrent_spawn_limit",
    "namedServerLimitPerUser": "named_server_limit_per_user",
    "redirectToServer": "redirect_to_server",
    "shutdownOnLogout": "shutdown_on_logout",
    "templatePaths": "template_paths",
    "templateVars": "template_vars",
}
"""Value below `hub` -> trait of JupyterHub."""
NOTEBOOK_TRAITS = {
    "cpu.guarantee": "cpu_guarantee",
    "cpu.limit": "cpu_limit",
    "events": "events_enabled",
    "extraAnnotations": "extra_annotations",
    "extraContainers": "extra_containers",
    "extraEnv": "environment",
    "extraLabels": "extra_labels",
    "extraNodeAffinity.preferred": "node_affinity_preferred",
    "extraNodeAffinity.required": "node_affinity_required",
    "extraPodAffinity.preferred": "pod_affinity_preferred",
    "extraPodAffinity.required": "pod_affinity_required",
    "extraPodAntiAffinity.preferred": "pod_anti_affinity_preferred",
    "extraPodAntiAffinity.required": "pod_anti_affinity_required",
    "extraPodConfig": "extra_pod_config",
    "extraResource.guarantees": "extra_resource_guarantees",
    "extraResource.limits": "extra_resource_limits",
    "fsGid": "fs_gid",
    "image.pullPolicy": "image_pull_policy",
    "initContainers": "init_containers",
    "lifecycleHooks": "lifecycle_hooks",
    "memory.guarantee": "mem_guarantee",
    "memory.limit": "mem_limit",
    "nodeSelector": "node_selector",
    "podNameTemplate": "pod_name_template",
    "profileList": "profile_list",
    "serviceAccountName": "service_account",
    "startTimeout": "start_timeout",
    "storage.extraLabels": "storage_extra_labels",
    "uid": "uid",
}
"""Value below `singleuser` -> trait of KubeSpawner."""


def find(values: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        if not isinstance(values, dict) or key not in values:
            return default
        values = values[key]
    return values


def set_given(section: Any, values: Any, traits: dict[str, str]) -> None:
    """Sets the traits whose values are not null."""
    for path, trait in traits.items():
        if (value := find(values, path)) is not None:
            setattr(section, trait, value)


def read_addresses(c: Any, environment: dict[str, str]) -> None:
    """Where hub and proxy find each other: by their Services."""
    c.ConfigurableHTTPProxy.api_url = f"http://proxy-api:{environment['PROXY_API_SERVICE_PORT']}"
    c.ConfigurableHTTPProxy.should_start = False
    c.JupyterHub.hub_bind_url = "http://:8081"
    c.JupyterHub.hub_connect_url = f"http://hub:{environment['HUB_SERVICE_PORT']}"


def read_hub(c: Any, hub: dict[str, Any]) -> None:
    """The section `hub`, except what is passed through."""
    c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.last_activity_interval = 60
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    kinds = {"sqlite-pvc": "sqlite:///jupyterhub.sqlite", "sqlite-memory": "sqlite://"}
    c.JupyterHub.db_url = kinds.get(hub["db"]["type"]) or hub["db"]["url"]
    set_given(c.JupyterHub, hub, HUB_TRAITS)
    set_given(c.Spawner, hub, {"consecutiveFailureLimit": "consecutive_failure_limit"})


def read_notebooks(c: Any, values: dict[str, Any], namespace: str) -> None:
    """The sections `singleuser` and `scheduling`."""
    notebook, scheduling = values["singleuser"], values["scheduling"]
    labels = {
        "app.kubernetes.io/name": "jupyterhub",
        "app": "jupyterhub",
        "app.kubernetes.io/managed-by": "kubespawner",
    }
    if release := find(values, "Release.Name"):
        labels |= {"app.kubernetes.io/instance": release, "release": release}
    if version := find(values, "Chart.Version"):
        chart = f"{values['Chart']['Name']}-{version.replace('+', '_')}"
        labels |= {"helm.sh/chart": chart, "chart": chart}
    c.KubeSpawner.common_labels = labels
    c.KubeSpawner.namespace = namespace
    c.KubeSpawner.image = f"{notebook['image']['name']}:{notebook['image']['tag']}"
    c.KubeSpawner.allow_privilege_escalation = notebook["allowPrivilegeEscalation"]
    set_given(c.KubeSpawner, notebook, NOTEBOOK_TRAITS)
    set_given(c.Spawner, notebook, {"defaultUrl": "default_url"})
    if (command := find(notebook, "cmd", _MISSING)) is not _MISSING:
        c.Spawner.cmd = command
    c.KubeSpawner.tolerations = scheduling["userPods"]["tolerations"] + notebook["extraTolerations"]
    purpose = {"matchExpressions": [{"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["user"]}]}
    wish = scheduling["userPods"]["nodeAffinity"]["matchNodePurpose"]
    if wish == "prefer":
        c.KubeSpawner.node_affinity_preferred.append({"weight": 100, "preference": purpose})
    elif wish == "require":
        c.KubeSpawner.node_affinity_required.append(purpose)
    if scheduling["userScheduler"]["enabled"]:
        c.KubeSpawner.scheduler_name = "user-scheduler"
    if scheduling["podPriority"]["enabled"]:
        c.KubeSpawner.priority_class_name = find(values, "Release.Name")
    read_volumes(c, notebook["storage"])


def read_volumes(c: Any, storage: dict[str, Any]) -> None:
    """The home volume and what a site adds; the names of the mounts are the reading's own."""
    volumes: dict[str, Any] = {}
    mounts: dict[str, Any] = {}
    if storage["type"] == "dynamic":
        dynamic = storage["dynamic"]
        name, claim, sub_path = dynamic["volumeNameTemplate"], "{pvc_name}", dynamic["subPath"]
        traits = {"storageClass": "storage_class", "storageAccessModes": "storage_access_modes"}
        set_given(c.KubeSpawner, dynamic, traits | {"pvcNameTemplate": "pvc_name_template"})
        set_given(c.KubeSpawner, storage, {"capacity": "storage_capacity"})
        c.KubeSpawner.storage_pvc_ensure = True
    else:
        name, claim, sub_path = "home", storage["static"]["pvcName"], storage["static"]["subPath"]
    if storage["type"] != "none":
        volumes[name] = {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        mounts[name] = {"name": name, "mountPath": storage["homeMountPath"], "subPath": sub_path}
    extra, extra_mounts = storage["extraVolumes"] or {}, storage["extraVolumeMounts"] or {}
    volumes |= extra if isinstance(extra, dict) else {one["name"]: one for one in extra}
    numbered = {f"{index}-{one['name']}": one for index, one in enumerate(extra_mounts)} if extra_mounts else {}
    mounts |= extra_mounts if isinstance(extra_mounts, dict) else numbered
    c.KubeSpawner.volumes, c.KubeSpawner.volume_mounts = volumes, mounts


def read_culling(c: Any, cull: dict[str, Any], base: str) -> None:
    """The section `cull`: jupyterhub-idle-culler as a service of the hub, with the rights that it documents."""
    if not cull["enabled"]:
        return
    name = "jupyterhub-idle-culler"
    command = ["python3", "-m", "jupyterhub_idle_culler", f"--url=http://localhost:8081{base.rstrip('/')}/hub/api"]
    numbers = {"timeout": "timeout", "every": "cull-every", "concurrency": "concurrency"}
    command += [f"--{flag}={cull[key]}" for key, flag in numbers.items() if cull[key]]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    if cull["users"]:
        command.append("--cull-users")
        scopes.append("admin:users")
    if not cull["adminUsers"]:
        command.append("--cull-admin-users=false")
    if cull["removeNamedServers"]:
        command.append("--remove-named-servers")
    if cull["maxAge"]:
        command.append(f"--max-age={cull['maxAge']}")
    c.JupyterHub.services.append({"name": name, "command": command})
    c.JupyterHub.load_roles.append({"name": name, "scopes": scopes, "services": [name]})


def read_services(c: Any, hub: dict[str, Any], secrets: dict[str, str]) -> None:
    """Services of the site, each with the token that the chart made for it, and roles."""
    for name, service in (hub.get("services") or {}).items():
        token = secrets[f"hub.services.{name}.apiToken"]
        c.JupyterHub.services.append({"name": name, **service, "api_token": token})
    c.JupyterHub.load_roles += [{"name": name, **role} for name, role in (hub.get("loadRoles") or {}).items()]


def read_values(c: Any, values: dict[str, Any], secrets: dict[str, str], environment: dict[str, str]) -> None:
    """Everything.

    Args:
        c: The configuration to fill.
        values: The chart's values, with `Chart` and `Release`.
        secrets: Entries of the Secret `hub`: the cookie's secret, keys of stored tokens, tokens of services.
        environment: Environment of the hub's container.
    """
    read_addresses(c, environment)
    read_hub(c, values["hub"])
    read_notebooks(c, values, environment.get("POD_NAMESPACE", "default"))
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    read_culling(c, values["cull"], values["hub"]["baseUrl"])
    read_services(c, values["hub"], secrets)
    if values["debug"]["enabled"]:
        c.JupyterHub.log_level, c.Spawner.debug = "DEBUG", True
    c.JupyterHub.cookie_secret = secrets["hub.config.JupyterHub.cookie_secret"]
    c.CryptKeeper.keys = secrets["hub.config.CryptKeeper.keys"].split(";")
    seeded = {"JupyterHub": ("cookie_secret", "proxy_auth_token", "services"), "CryptKeeper": ("keys",)}
    for section, traits in (values["hub"].get("config") or {}).items():
        c[section].update({name: value for name, value in traits.items() if name not in seeded.get(section, ())})
    for name, code in sorted((values["hub"].get("extraConfig") or {}).items()):
        # Its names are those that the chart documents: `c`, and `get_config` for values.
        names = {"c": c, "get_config": lambda path, default=None: find(values, path, default)}
        exec(compile(code, name, "exec"), names)  # noqa: S102


if (HERE / "secret").is_dir():
    from tornado.httpclient import AsyncHTTPClient

    AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
    # Files of hub.extraFiles lie beside this one, and can be imported.
    sys.path.insert(0, str(HERE))
    read_values(
        get_config(),  # type: ignore[name-defined]  # noqa: F821  # JupyterHub gives it to its configuration
        yaml.safe_load((HERE / "secret/values.yaml").read_text()),
        {file.name: file.read_text() for file in (HERE / "secret").glob("hub.*")},
        dict(os.environ),
    )
