"""K3s's configuration: files, environment and command line merged by K3s's rules, then checked.

Rules (docs.k3s.io/installation/configuration): `config.yaml` first, then `config.yaml.d/*.yaml` in order of name, the
last value of a key wins, `key+` appends to what came before; a flag on the command line replaces the files' value,
lists included; an environment variable stands between the two.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.k3s.flags import CRITICAL, DISABLE_ITEMS, Flag, FlagType

Values = dict[str, tuple[str, ...]]
"""Flag name to the values given for it, in order; booleans are `true` or `false`."""

DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "cluster-cidr": ("10.42.0.0/16",),
    "service-cidr": ("10.43.0.0/16",),
    "cluster-dns": ("10.43.0.10",),
    "cluster-domain": ("cluster.local",),
    "service-node-port-range": ("30000-32767",),
    "flannel-backend": ("vxlan",),
    "egress-selector-mode": ("agent",),
    "secrets-encryption-provider": ("aescbc",),
    "data-dir": ("/var/lib/rancher/k3s",),
    "https-listen-port": ("6443",),
    "write-kubeconfig": ("/etc/rancher/k3s/k3s.yaml",),
    "write-kubeconfig-mode": ("0600",),
    "etcd-snapshot-name": ("etcd-snapshot",),
    "etcd-snapshot-schedule-cron": ("0 */12 * * *",),
    "etcd-snapshot-retention": ("5",),
}
"""K3s's defaults, where the stand-in reads the value."""

CONFIG_FILE = "/etc/rancher/k3s/config.yaml"


class ConfigError(Exception):
    """The configuration is refused; the text is K3s's, and names the flag."""


class FlagError(ConfigError):
    """A flag that K3s does not have, or without its value: K3s prints the usage as well."""


@dataclass(frozen=True)
class Options:
    """The merged settings of one `k3s server` or `k3s agent`."""

    values: Mapping[str, tuple[str, ...]]

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a list flag, K3s's default when it was not given."""
        return self.values.get(name) or DEFAULTS.get(name, ())

    def text(self, name: str) -> str:
        """Return the value of a flag, K3s's default or an empty string when it was not given."""
        given = self.many(name)
        return given[-1] if given else ""

    def on(self, name: str) -> bool:
        """Return whether a boolean flag is set."""
        return self.text(name) == "true"

    def secret(self, name: str) -> str:
        """Return a flag's value, or the first line of the file that `<name>-file` names."""
        file = self.text(f"{name}-file")
        if self.text(name) or not file:
            return self.text(name)
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"failed to read {name} from file {file}: {error.strerror}") from error


def _to_texts(value: object) -> tuple[str, ...]:
    items: Iterable[object] = value if isinstance(value, list) else [value]
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items)


def merge_files(documents: Sequence[Mapping[str, object]]) -> Values:
    """Merge the parsed configuration files, first to last."""
    merged: Values = {}
    for document in documents:
        for key, value in document.items():
            name = key.removesuffix("+")
            appended = merged.get(name, ()) if key.endswith("+") else ()
            merged[name] = (*appended, *_to_texts(value))
    return merged


def read_files(config: Path) -> Values:
    """Read `config.yaml` and the drop-ins of `config.yaml.d`; a missing file is an empty one."""
    drop_ins = sorted(config.with_name(config.name + ".d").glob("*.y*ml"))
    documents: list[Mapping[str, object]] = []
    for file in [config, *drop_ins]:
        if not file.is_file():
            continue
        try:
            parsed = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ConfigError(f"failed to parse {file}: {error}") from error
        if parsed is not None and not isinstance(parsed, dict):
            raise ConfigError(f"failed to parse {file}: expected a mapping of flag names to values")
        documents.append(parsed or {})
    return merge_files(documents)


def parse_arguments(arguments: Sequence[str], flags: Sequence[Flag]) -> tuple[Values, list[str]]:
    """Parse a command line.

    Returns the given flags and the remaining words. Raises `ConfigError` for a flag that K3s does not have.
    """
    known = {flag.name: flag for flag in flags} | {flag.short: flag for flag in flags if flag.short}
    values: Values = {}
    words: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        flag = known.get(name)
        if flag is None:
            raise FlagError(f"flag provided but not defined: -{name}")
        if not has_value:
            if flag.kind is FlagType.BOOL:
                value = "true"
            elif queue:
                value = queue.pop(0)
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        values[flag.name] = (*values.get(flag.name, ()), value)
    return values, words


def _check_kinds(values: Values, flags: Sequence[Flag]) -> Values:
    known = {flag.name: flag for flag in flags}
    checked: Values = {}
    for name, given in values.items():
        flag = known.get(name)
        if flag is None:
            raise FlagError(f"flag provided but not defined: -{name}")
        value = given[-1] if given else ""
        if flag.kind is FlagType.LIST:
            checked[name] = given
        elif flag.kind is FlagType.BOOL:
            if value not in {"true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"}:
                raise ConfigError(f'invalid boolean value "{value}" for -{name}: parse error')
            checked[name] = ("true" if value[0] in "1tT" else "false",)
        elif (flag.kind is FlagType.INT and not re.fullmatch(r"-?\d+", value)) or (
            flag.kind is FlagType.DURATION and not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", value)
        ):
            raise ConfigError(f'invalid value "{value}" for flag -{name}: parse error')
        else:
            checked[name] = (value,)
    return checked


def load(
    arguments: Sequence[str], flags: Sequence[Flag], environment: Mapping[str, str], *, skip_unknown: bool = False
) -> tuple[Options, list[str]]:
    """Merge files, environment (K3S_*) and command line; returns the options and the words that were no flags.

    With `skip_unknown`, keys of the file that this sub-command lacks are passed over, as the small commands do.
    """
    given, words = parse_arguments(arguments, flags)
    from_environment = {flag.name: (environment[flag.env],) for flag in flags if environment.get(flag.env)}
    chosen = given.get("config") or from_environment.get("config") or (CONFIG_FILE,)
    from_files = read_files(Path(chosen[-1]))
    if skip_unknown:
        names = {flag.name for flag in flags}
        from_files = {name: value for name, value in from_files.items() if name in names}
    return Options(_check_kinds({**from_files, **from_environment, **given}, flags)), words


def check_server(options: Options) -> None:
    """Refuse combinations that K3s refuses before it starts anything."""
    if options.text("cluster-reset-restore-path") and not options.on("cluster-reset"):
        raise ConfigError("invalid flag use; --cluster-reset required with --cluster-reset-restore-path")
    if options.text("datastore-endpoint"):
        raise ConfigError("--datastore-endpoint: the lab runs K3s with embedded etcd only")
    if options.on("cluster-reset") and options.text("server"):
        raise ConfigError("invalid flag use; --server must not be used with --cluster-reset")
    for item in options.many("disable"):
        if item not in DISABLE_ITEMS:
            raise ConfigError(f"unknown disable item {item}; valid items: {', '.join(DISABLE_ITEMS)}")
    mode = options.text("write-kubeconfig-mode")
    if not re.fullmatch(r"0?[0-7]{3}", mode):
        raise ConfigError(f'invalid --write-kubeconfig-mode "{mode}": an octal file mode such as 0600 is needed')
    if options.text("secrets-encryption-provider") not in {"aescbc", "secretbox"}:
        raise ConfigError(f"invalid secrets-encryption-provider {options.text('secrets-encryption-provider')}")


def critical_settings(options: Options) -> dict[str, str]:
    """Return the settings that must be equal on all servers; the agent token only as a digest."""
    settings = {name: ",".join(options.many(name)) or "false" for name in CRITICAL}
    token = options.secret("agent-token")
    settings["agent-token"] = hashlib.sha256(token.encode()).hexdigest()[:16] if token else ""
    settings["disable=servicelb"] = str("servicelb" in options.many("disable")).lower()
    return settings
