"""Secrets of a stack, as Pulumi outputs: given ones, and those that are derived from the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pulumi

from config import layers
from config.errors import LyceumError
from config.key_derivation import derive_password, ssh_private_key_pem, ssh_public_key_line
from config.required_secrets import GIVEN, required_secrets
from config.site import Site

PREVIEW = {"seed": "00" * 32, "proxmox-token": "preview@pve!preview=00000000-0000-0000-0000-000000000000"}
"""Placeholders with which a preview runs without any secret, as in a pull request."""


class MissingSecretError(LyceumError):
    """A secret that the site needs is not set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """Every secret of a stack, each a Pulumi secret.

    Attributes:
        seed: Root of the derived secrets.
        proxmox_token: Proxmox API token.
        given: The other secrets that the site needs, by name (see `config.required_secrets`).
    """

    seed: pulumi.Output[str]
    proxmox_token: pulumi.Output[str]
    given: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)

    def derive(self, purpose: str) -> pulumi.Output[str]:
        """Derives a password or a token for one purpose."""
        return self.seed.apply(lambda seed: derive_password(seed, purpose))

    @property
    def of_layers(self) -> dict[str, pulumi.Output[str]]:
        """Every secret that a layer may need: the given ones, and those that are derived for a layer."""
        derived = {purpose: self.derive(purpose) for record in layers.LAYERS for purpose in record.derived_secrets}
        return {**self.given, **derived}

    @property
    def ssh_private_key(self) -> pulumi.Output[str]:
        """The SSH key for the nodes, PEM."""
        return self.seed.apply(ssh_private_key_pem)

    @property
    def ssh_public_key(self) -> pulumi.Output[str]:
        """Its line for authorized_keys; not secret, because the VM's configuration needs it in plain text."""
        return pulumi.Output.unsecret(self.seed.apply(ssh_public_key_line))


def load_secrets(config: pulumi.Config, site: Site) -> Secrets:
    """Reads the given secrets from the stack's configuration or from the files that the site names.

    A preview runs without them: it shows the whole graph with placeholders.

    Raises:
        MissingSecretError: a secret is missing; the text names each one and the command that sets it.
    """
    wanted = {need.name: need for need in required_secrets(site)}
    found = {name: value for name in wanted if (value := _read_secret(config, site, name)) is not None}
    if missing := [name for name, need in wanted.items() if name not in found and need.required_now]:
        if not pulumi.runtime.is_dry_run():
            lines = [
                f"  {name}: {wanted[name].what}; set it with `./lyceum secrets set {site.name} {name}`"
                for name in missing
            ]
            raise MissingSecretError("\n".join([f"{site.name} lacks {len(missing)} secret(s):", *lines]))
        # Any value gives the same graph, and a preview creates nothing.
        found |= {name: pulumi.Output.secret(PREVIEW.get(name, "preview")) for name in missing}
    return Secrets(
        seed=found["seed"],
        proxmox_token=found["proxmox-token"],
        given={name: value for name, value in found.items() if name not in GIVEN},
    )


def _read_secret(config: pulumi.Config, site: Site, name: str) -> pulumi.Output[str] | None:
    if value := config.get_secret(name):
        return value
    reference = site.secrets.get(name)
    path = reference and Path(reference.file)
    if path and path.exists():
        return pulumi.Output.secret(path.read_text().strip())
    return None
