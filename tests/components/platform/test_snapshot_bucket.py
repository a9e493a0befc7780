"""The settings of K3s for the bucket, by the names that K3s reads."""

from typing import Any

import yaml

from components.cluster.k3s_config import server_config
from components.platform.snapshot_bucket import bucket_entries
from config.hosts import Role
from config.load import load_site
from config.services import S3, SNAPSHOT_SECRET
from config.site import Site
from lab.k3s.flags import SERVER
from lab.k3s.s3 import _SETTINGS

STORE = S3(endpoint="https://s3.campus.example:9000", bucket="lyceum")


def backup_settings(site: Site) -> dict[str, Any]:
    server = next(node for node in site.machines if node.role is Role.SERVER)
    config: dict[str, Any] = yaml.safe_load(server_config(server, site))
    return {key: value for key, value in config.items() if "s3" in key}


def test_the_configuration_names_the_secret_and_nothing_else() -> None:
    """Any other etcd-s3 flag makes K3s ignore the Secret."""
    assert backup_settings(load_site("lab")) == {"etcd-s3": True, "etcd-s3-config-secret": SNAPSHOT_SECRET}


def test_a_site_without_a_bucket_says_nothing_of_s3() -> None:
    assert backup_settings(load_site("forty-workstations")) == {}


def test_the_secrets_entries_are_settings_of_k3s() -> None:
    entries = bucket_entries("arena", STORE, ca="")

    assert entries.keys() <= {f"etcd-s3-{name}" for name in _SETTINGS}
    assert entries.keys() <= {flag.name for flag in SERVER}


def test_the_endpoint_is_a_host_and_the_folder_holds_nothing_but_snapshots() -> None:
    """K3s lists by prefix: `arena/snapshots` is neither the escrow beside it nor `arena-2`."""
    entries = bucket_entries("arena", STORE, ca="")

    assert entries["etcd-s3-endpoint"] == "s3.campus.example:9000"
    assert entries["etcd-s3-folder"] == "arena/snapshots"
    assert "etcd-s3-endpoint-ca" not in entries


def test_a_private_ca_is_one_of_the_entries() -> None:
    assert bucket_entries("arena", STORE, ca="a CA")["etcd-s3-endpoint-ca"] == "a CA"
