"""A person's server as the hub makes one, without a cluster: the real KubeSpawner behind the hub's own module."""

from types import SimpleNamespace
from typing import Any
from unittest import mock

from traitlets.config import Config

from components.workspaces.hub.lyceum_hub import CampusSpawner


def make_spawner(configuration: Config, groups: tuple[str, ...], requested: dict[str, Any]) -> CampusSpawner:
    """The server of a member of these groups who requested these options."""
    with mock.patch("kubespawner.spawner.load_config"), mock.patch("kubespawner.spawner.shared_client"):
        spawner = CampusSpawner(config=configuration, _mock=True, user_options=requested)
    spawner.user.groups = [SimpleNamespace(name=name) for name in groups]
    return spawner
