"""K3s's configuration is read by K3s's rules, and what K3s would refuse is refused."""

from pathlib import Path

import pytest
import yaml

from lab.k3s.config import ConfigError, Options, check_server, critical_settings, load, merge_files
from lab.k3s.flags import AGENT, CRITICAL, SERVER


def write(folder: Path, **files: object) -> list[str]:
    """Write `config.yaml` and drop-ins (`d_<name>`), return the arguments that name it."""
    (folder / "config.yaml.d").mkdir(exist_ok=True)
    for name, content in files.items():
        file = folder / "config.yaml.d" / f"{name[2:]}.yaml" if name.startswith("d_") else folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
    return ["--config", str(folder / "config.yaml")]


def options(*arguments: str, environment: dict[str, str] | None = None) -> Options:
    return load(arguments, SERVER, environment or {})[0]


def test_the_last_drop_in_wins() -> None:
    merged = merge_files([{"flannel-backend": "vxlan"}, {"flannel-backend": "host-gw"}, {"token": "t"}])
    assert merged["flannel-backend"] == ("host-gw",), "a later file replaces a scalar"


def test_a_plain_list_of_a_drop_in_replaces_the_list() -> None:
    assert merge_files([{"tls-san": ["a", "b"]}, {"tls-san": ["c"]}])["tls-san"] == ("c",)


def test_a_plus_appends_to_the_list() -> None:
    assert merge_files([{"tls-san": ["a"]}, {"tls-san+": ["b"]}])["tls-san"] == ("a", "b")


def test_drop_ins_are_read_in_order_of_name(tmp_path: Path) -> None:
    arguments = write(tmp_path, config={"token": "1"}, d_20={"token": "3"}, d_10={"token": "2"})
    assert options(*arguments).text("token") == "3"


def test_the_command_line_replaces_lists_of_the_file(tmp_path: Path) -> None:
    arguments = write(tmp_path, config={"node-label": ["a=1", "b=2"]})
    assert options(*arguments, "--node-label", "c=3").many("node-label") == ("c=3",)


def test_the_environment_stands_between_file_and_command_line(tmp_path: Path) -> None:
    arguments = write(tmp_path, config={"token": "file"})
    assert options(*arguments, environment={"K3S_TOKEN": "env"}).text("token") == "env"
    assert options(*arguments, "-t", "line", environment={"K3S_TOKEN": "env"}).text("token") == "line"


@pytest.mark.parametrize("flags", [SERVER, AGENT], ids=["server", "agent"])
def test_an_unknown_key_is_refused_by_name(tmp_path: Path, flags: tuple[object, ...]) -> None:
    arguments = write(tmp_path, config={"flanel-backend": "vxlan"})
    with pytest.raises(ConfigError, match="flag provided but not defined: -flanel-backend"):
        load(arguments, flags, {})  # type: ignore[arg-type]


def test_an_agent_does_not_know_the_flags_of_a_server() -> None:
    with pytest.raises(ConfigError, match="-cluster-init"):
        load(["--cluster-init"], AGENT, {})


@pytest.mark.parametrize(
    ("flag", "value"), [("secrets-encryption", "ja"), ("etcd-snapshot-retention", "five"), ("etcd-s3-timeout", "5")]
)
def test_a_value_of_the_wrong_kind_is_refused(flag: str, value: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        options(f"--{flag}={value}")


def test_a_flag_without_its_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="flag needs an argument: -token"):
        options("--token")


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("geheim\n")
    assert options("--token-file", str(tmp_path / "token")).secret("token") == "geheim"


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        options("--token-file", str(tmp_path / "nowhere")).secret("token")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--disable", "longhorn"], "longhorn"),
        (["--cluster-reset-restore-path", "x"], "cluster-reset required"),
        (["--write-kubeconfig-mode", "rw"], "write-kubeconfig-mode"),
        (["--datastore-endpoint", "mysql://x"], "embedded etcd"),
    ],
)
def test_a_server_refuses_what_cannot_work(arguments: list[str], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        check_server(options(*arguments))


def test_a_usual_server_is_accepted() -> None:
    check_server(options("--cluster-init", "--disable=traefik", "--disable=servicelb", "--write-kubeconfig-mode=0644"))


def test_the_critical_settings_are_k3ss() -> None:
    assert set(critical_settings(options())) == {*CRITICAL, "agent-token", "disable=servicelb"}


@pytest.mark.parametrize(
    "argument", ["--cluster-cidr=10.50.0.0/16", "--disable=servicelb", "--secrets-encryption", "--agent-token=x"]
)
def test_a_differing_critical_setting_shows(argument: str) -> None:
    assert critical_settings(options()) != critical_settings(options(argument))


def test_a_setting_of_one_server_only_is_not_critical() -> None:
    assert critical_settings(options()) == critical_settings(options("--node-label=a=b", "--disable=traefik"))


def test_the_agent_token_is_not_told_to_joining_servers() -> None:
    assert "sentinel" not in str(critical_settings(options("--agent-token=sentinel")))
