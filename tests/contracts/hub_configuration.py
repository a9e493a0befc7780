"""What JupyterHub's chart makes of its values for the hub: recorded once from the chart, compared ever after.

    .venv/bin/python -m tests.contracts.hub_configuration DIRECTORY     records, from an unpacked archive of the chart

The record holds traits and their values, nothing of the chart's text.
"""

import json
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import yaml
from tornado.httpclient import AsyncHTTPClient
from traitlets.config import Config

RECORD = Path(__file__).resolve().parents[1] / "data" / "hub-configuration.json"
SECRETS = {
    "hub.config.JupyterHub.cookie_secret": "c0ffee",
    "hub.config.CryptKeeper.keys": "aa;bb",
    "hub.services.prometheus.apiToken": "a token",
}
ENVIRONMENT = {"PROXY_API_SERVICE_PORT": "8001", "HUB_SERVICE_PORT": "8081", "POD_NAMESPACE": "jupyterhub"}
NAMES = {"hub": "hub", "proxy-api": "proxy-api", "user-scheduler": "user-scheduler", "priority": "jupyterhub"}
CHANGES: dict[str, Any] = {
    "Chart": {"Name": "jupyterhub", "Version": "4.4.0"},
    "Release": {"Name": "jupyterhub", "Namespace": "jupyterhub"},
    "custom": {"lyceum": {"answer": 42}},
    "hub": {
        "allowNamedServers": True,
        "namedServerLimitPerUser": 2,
        "concurrentSpawnLimit": 0,
        "consecutiveFailureLimit": 0,
        "config": {
            "JupyterHub": {"admin_access": False, "authenticator_class": "generic-oauth", "cookie_secret": "not this"},
            "GenericOAuthenticator": {"client_id": "lyceum", "scope": ["openid"]},
            "KubeSpawner": {"pod_security_context": {"fsGroup": 100}},
        },
        "extraConfig": {"b": "c.Spawner.debug = False", "a": "c.Test.answer = get_config('custom.lyceum.answer')"},
        "loadRoles": {"reader": {"scopes": ["list:users"], "services": ["reader"]}},
        "redirectToServer": False,
        "services": {"prometheus": {"display": False}},
    },
    "singleuser": {
        "cloudMetadata": {"blockWithIptables": False},
        "defaultUrl": "/lab",
        "cpu": {"limit": 2, "guarantee": 0.5},
        "extraEnv": {"A": "b"},
        "extraTolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "image": {"name": "quay.io/campus/notebook", "tag": "1", "pullPolicy": "IfNotPresent"},
        "startTimeout": 43200,
        "storage": {
            "capacity": "50Gi",
            "dynamic": {"storageClass": "ceph-block"},
            "extraVolumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
            "extraVolumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
        },
    },
    "scheduling": {"userScheduler": {"enabled": False}},
    "cull": {"users": True, "maxAge": 86400},
}
"""A site that sets much."""


def overlay(base: Any, over: Any) -> Any:
    """Values over defaults, as Helm merges them."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: overlay(base.get(key), value) for key, value in over.items()}}


def without_nulls(values: Any) -> Any:
    """As Helm gives a chart's defaults to its templates: what is null there is absent."""
    if not isinstance(values, dict):
        return values
    return {key: without_nulls(value) for key, value in values.items() if value is not None}


def to_plain(found: Config) -> dict[str, Any]:
    """Traits as JSON has them; a list that is only added to is as good as the list."""
    lazy = {
        name: {trait: getattr(value, "_extend", value) for trait, value in section.items()}
        for name, section in found.items()
    }
    return cast("dict[str, Any]", json.loads(json.dumps(lazy, sort_keys=True)))


def read_chart(directory: Path) -> dict[str, Any]:
    """Runs the chart's own configuration on the values, as the hub does, with its files and environment replaced."""
    values = overlay(without_nulls(yaml.safe_load((directory / "values.yaml").read_text())), CHANGES)
    sys.path.insert(0, str(directory / "files/hub"))
    import z2jh  # type: ignore[import-not-found]  # noqa: PLC0415  # the chart's own module

    z2jh._load_config = lambda: values
    z2jh._get_config_value = NAMES.__getitem__
    z2jh.get_secret_value = SECRETS.get
    z2jh.os.environ.update(ENVIRONMENT)
    AsyncHTTPClient.configure = classmethod(lambda *_, **__: None)  # type: ignore[assignment]  # it needs libcurl
    c = Config()
    runpy.run_path(str(directory / "files/hub/jupyterhub_config.py"), init_globals={"get_config": lambda: c})
    return to_plain(c)


def read_stand_in(values: dict[str, Any]) -> dict[str, Any]:
    """Runs the lab's reading on the same changes to the stand-in's defaults."""
    file = Path(__file__).resolve().parents[2] / "lab/charts/files/jupyterhub/jupyterhub_config.py"
    read_values = partial(runpy.run_path(str(file))["read_values"])
    c = Config()
    read_values(c, overlay(values, CHANGES), SECRETS, ENVIRONMENT)
    return to_plain(c)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(read_chart(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
