"""A stack: a site at a stage, with the environment in which the engine works on it."""

import os
import subprocess
import sys
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from config.errors import LyceumError, UsageError
from config.hosts import Node
from config.paths import PROJECT, site_path
from config.site import STAGES, Site
from config.tokens import SETTING, TokenGenerations, read_generations
from config.validate import load_site, validate_file
from ops.files import write_atomically
from toolchain.environment import engine_environment

STATE = PROJECT / ".lyceum"
LAB_PASSPHRASE = "lyceum-lab"  # noqa: S105 - the embedded campus has nothing to protect
PUBLIC_CAS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
INSIDE = "LYCEUM_INSIDE_CAMPUS"
"""Environment variable of a command that runs inside the embedded campus's network already."""


class Stack:
    """One `Pulumi.<name>.yaml`.

    Attributes:
        name: Name of the stack.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._settings: dict[str, Any] | None = None

    @property
    def file(self) -> Path:
        """Its configuration."""
        return PROJECT / f"Pulumi.{self.name}.yaml"

    @property
    def settings(self) -> dict[str, Any]:
        """The plain part of its configuration, without the `lyceum:` prefix; read once, and again after `set`.

        Raises:
            UsageError: there is no such stack.
        """
        if self._settings is None:
            if not self.file.exists():
                raise UsageError(
                    f"there is no stack `{self.name}` ({self.file.name}); there are: {', '.join(list_stacks())}"
                )
            self._settings = _read_settings(self.file)
        return self._settings

    @cached_property
    def site(self) -> Site:
        """Its campus."""
        return load_site(self.settings["site"])

    @property
    def stage(self) -> str:
        """How much of the campus is in service."""
        stage = str(self.settings["stage"])
        if stage not in STAGES:
            raise UsageError(f"{self.file.name}: lyceum:stage `{stage}` is not one of {', '.join(STAGES)}")
        return stage

    def set_stage(self, stage: str) -> None:
        """Writes another stage, keeping comments."""
        self.set("stage", stage)

    def set(self, key: str, value: str | list[str] | dict[str, object] | None) -> None:
        """Writes a plain setting, keeping comments; None takes it out."""
        yaml = YAML()
        yaml.width = 4096  # leave long lines, such as the encryption salt, as they are
        data = yaml.load(self.file)
        if value is None:
            data["config"].pop(f"lyceum:{key}", None)
        else:
            data["config"][f"lyceum:{key}"] = value
        text = StringIO()
        yaml.dump(data, text)
        # It holds the salt of every secret in the state: half a file would lose them all.
        write_atomically(self.file, text.getvalue())
        self._settings = None

    @property
    def out_of_service(self) -> frozenset[str]:
        """Machines of the site that were taken away by name (`lyceum node remove`)."""
        return frozenset(self.settings.get("out-of-service") or ())

    @property
    def generations(self) -> TokenGenerations:
        """Which generation of K3s's tokens is in use."""
        return read_generations(self.settings.get(SETTING))

    def set_generations(self, generations: TokenGenerations) -> None:
        """Writes which one is."""
        self.set(SETTING, generations.as_setting() or None)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Machines that shall exist."""
        return self.nodes_at(self.stage)

    def nodes_at(self, stage: str) -> tuple[Node, ...]:
        """Machines that would exist at a stage."""
        return tuple(node for node in self.site.in_service(stage) if node.name not in self.out_of_service)

    @cached_property
    def environment(self) -> dict[str, str]:
        """Environment of the engine: our toolchain, a state of our own, the campus's CA in addition to the public ones."""
        environment = os.environ | engine_environment()
        environment.setdefault("PULUMI_BACKEND_URL", (STATE / "state").as_uri())
        if self.site.simulated and not environment.keys() & {
            "PULUMI_CONFIG_PASSPHRASE",
            "PULUMI_CONFIG_PASSPHRASE_FILE",
        }:
            environment["PULUMI_CONFIG_PASSPHRASE"] = LAB_PASSPHRASE
        if bundle := self._write_ca_bundle():
            environment["SSL_CERT_FILE"] = str(bundle)
        return environment

    def _write_ca_bundle(self) -> Path | None:
        """The engine's plugins know only the system's CAs; this adds Proxmox's and the campus's, for them alone."""
        named = dict.fromkeys(file for file in (self.site.proxmox.ca_file, self.site.ca_file) if file)
        own = [(PROJECT / file).read_text() for file in named if (PROJECT / file).exists()]
        if not own:
            return None
        public = next((file.read_text() for file in PUBLIC_CAS if file.exists()), "")
        bundle = STATE / "trust" / f"{self.site.name}.pem"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        # A file may end without a newline, and two certificates on one line are none.
        bundle.write_text("\n".join([public, *own]))
        return bundle

    def enter_network(self) -> None:
        """Continues inside the campus's network where the campus is the embedded one; does nothing otherwise."""
        if not self.site.simulated or os.environ.get(INSIDE):
            return
        from lab import campus  # noqa: PLC0415 - only the embedded campus needs the lab

        prefix = campus.enter_command()
        command = [*prefix, sys.executable, "-m", "ops", *sys.argv[1:]]
        os.execvpe(command[0], command, os.environ | {INSIDE: "1"})  # noqa: S606 - the same command, elsewhere

    def secret(self, name: str) -> str:
        """A given secret as plain text.

        Raises:
            LyceumError: it was not given, or the stack's passphrase is wrong.
        """
        value = self.find_secret(name)
        if value is None:
            raise LyceumError(
                f"the stack `{self.name}` has no secret `{name}`",
                remedy=f"./lyceum secrets set {self.site.name} {name} --stack {self.name}",
            )
        return value

    def find_secret(self, name: str) -> str | None:
        """A given secret as plain text, from the file that the site names or out of the stack's configuration; or None."""
        reference = self.site.secrets.get(name)
        if reference and (PROJECT / reference.file).exists():
            return (PROJECT / reference.file).read_text().strip()
        found = subprocess.run(
            ["pulumi", "config", "get", f"lyceum:{name}", "--stack", self.name],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            self.check_passphrase(found.stderr)
            return None
        return found.stdout.strip()

    def check_passphrase(self, stderr: str) -> None:
        """Raises where the engine could not decrypt the stack's secrets.

        Args:
            stderr: What the engine wrote; it has no exit code of its own for this.
        """
        if "passphrase" in stderr:
            raise LyceumError(
                f"the passphrase of the stack `{self.name}` is missing or wrong: its secrets cannot be read, and nothing was "
                f"changed",
                remedy="set PULUMI_CONFIG_PASSPHRASE, or the name of its file in PULUMI_CONFIG_PASSPHRASE_FILE",
            )


def load_valid_site(name: str) -> Site:
    """The site of a name or a path.

    Raises:
        LyceumError: it has mistakes; the text lists all of them.
    """
    result = validate_file(site_path(name))
    if result.site is None:
        findings = "\n".join(map(str, result.findings))
        raise LyceumError(f"{name} is not a valid site; nothing was changed\n{findings}")
    return result.site


def find_stack(site: str, chosen: str | None = None) -> Stack:
    """The stack of a site, given by name or path: the chosen one, or the only one whose file names the site.

    Raises:
        UsageError: there is none, or there are several and none was chosen.
    """
    name = site_path(site).stem
    found = [one for one in list_stacks() if _read_settings(Stack(one).file).get("site") == name]
    if chosen:
        if chosen not in found:
            raise UsageError(
                f"the stack `{chosen}` is not of the site `{name}`; its stacks: {', '.join(found) or 'none'}"
            )
        return Stack(chosen)
    if len(found) != 1:
        known = (
            f"its stacks are {', '.join(found)}: choose with --stack" if found else "no Pulumi.<stack>.yaml names it"
        )
        raise UsageError(f"which stack of the site `{name}`? {known}")
    return Stack(found[0])


def list_stacks() -> list[str]:
    """Names of the project's stacks."""
    return sorted(path.name.split(".")[1] for path in PROJECT.glob("Pulumi.*.yaml"))


def _read_settings(file: Path) -> dict[str, Any]:
    data = YAML(typ="safe").load(file) or {}
    return {key.removeprefix("lyceum:"): value for key, value in (data.get("config") or {}).items()}
