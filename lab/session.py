"""Going into a campus: commands for a person's ssh, kubectl and shell, with everything trusted that should be."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.errors import LyceumError
from config.key_derivation import ssh_key
from lab import campus
from lab.host.disk import HOST_KEY
from lab.rundir import PROJECT, RunDir
from toolchain.environment import engine_environment

STATE = PROJECT / ".lyceum"
LAB_PASSPHRASE = "lyceum-lab"  # noqa: S105  # of the lab's stacks, as in ops/: there is nothing to protect


class SessionError(LyceumError):
    """Cannot go there; the text says why and what to do."""


def find_running_vm(lab: str, name: str) -> dict[str, object]:
    """A VM with the power on, by name or vmid.

    Raises:
        SessionError: none of that name is on; names those that are.
    """
    machines = campus.ask("machines", lab=lab)
    for found in machines:
        if name in {found["name"], str(found["vmid"])}:
            return dict(found)
    on = ", ".join(found["name"] for found in machines) or "none"
    raise SessionError(f"no VM `{name}` is on in the lab `{lab}`; on: {on}")


def find_known_vm(lab: str, name: str) -> tuple[Path, dict[str, object]]:
    """A VM that was ever started, on or off, by name or vmid: its directory, and its vmid, name and node.

    Raises:
        SessionError: there is none of that name.
    """
    for note in RunDir.of(lab).hosts.glob("*/vm.json"):
        known = json.loads(note.read_text())
        if name in {known["name"], str(known["vmid"])}:
            return note.parent, known
    raise SessionError(f"the lab `{lab}` has never started a VM `{name}`")


def power_on(lab: str, name: str) -> None:
    """Start a VM through the Proxmox API, as an administrator does in its web interface.

    Raises:
        SessionError: there is no such VM, or the API refused.
    """
    _, vm = find_known_vm(lab, name)
    run = RunDir.of(lab)
    url = f"{campus.read_addresses(lab)['proxmox'][vm['node']]}/api2/json/nodes/{vm['node']}/qemu/{vm['vmid']}/status/start"
    curl = ["curl", "-sS", "--fail-with-body", "--cacert", str(run.ca), "-K", "-", "-X", "POST", url]
    # By standard input: a token among the arguments could be read by everybody on the machine.
    header = f'header = "Authorization: PVEAPIToken={(run.path / "proxmox-token").read_text().strip()}"\n'
    done = subprocess.run(
        [*campus.enter_command(lab), *curl], input=header, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SessionError(f"Proxmox does not start {name}: {done.stdout or done.stderr}")


def ssh_command(lab: str, name: str, words: Sequence[str]) -> list[str]:
    """`ssh` into a VM with Lyceum's key; the host key is pinned through the guest agent, as Lyceum does it."""
    found = find_running_vm(lab, name)
    run = RunDir.of(lab)
    addresses = found["addresses"]
    if not isinstance(addresses, list) or not addresses:
        raise SessionError(f"{name} has no address")
    pinned = campus.ask(
        "vm_agent", lab=lab, vmid=found["vmid"], command="file-read", arguments={"file": f"{HOST_KEY}.pub"}
    )
    private = Path(tempfile.mkdtemp(dir=run.path, prefix="ssh-"))
    # OpenSSH's own format: Debian 12's ssh does not read Ed25519 keys in PKCS#8.
    key = ssh_key(run.seed.read_text().strip()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    _write_secret(private / "id", key.decode())
    (private / "known_hosts").write_text(f"{addresses[0]} {pinned['content']}")
    options = {
        "IdentityFile": private / "id",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": private / "known_hosts",
        "StrictHostKeyChecking": "yes",
        "LogLevel": "ERROR",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return [*campus.enter_command(lab), "ssh", "-F", "none", *flags, f"{found['user']}@{addresses[0]}", *words]


def kubectl_command(lab: str, words: Sequence[str]) -> list[str]:
    """`kubectl` as the cluster's administrator; the toolchain's, or the one on PATH."""
    built = PROJECT / ".toolchain/bin/kube"
    kubectl = [str(built), "kubectl"] if built.exists() else [shutil.which("kubectl") or "kubectl"]
    return [*campus.enter_command(lab), *kubectl, f"--kubeconfig={kubeconfig(lab)}", *words]


def kubeconfig(lab: str) -> Path:
    """The administrator's kubeconfig, fetched from the first server that has one.

    Raises:
        SessionError: there is no cluster yet.
    """
    text = campus.ask("kubeconfig", lab=lab)
    if text is None:
        raise SessionError(f"no VM of the lab `{lab}` runs a K3s server yet; `./lyceum up dev` makes a cluster")
    path = RunDir.of(lab).path / "kubeconfig"
    _write_secret(path, text)
    return path


def shell_command(lab: str) -> tuple[list[str], dict[str, str]]:
    """A shell in the campus's network, and its environment: toolchain on PATH, kubeconfig, Pulumi as ops/ runs it."""
    environment = os.environ | engine_environment()
    environment["PATH"] = f"{PROJECT / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    environment.setdefault("PULUMI_BACKEND_URL", (STATE / "state").as_uri())
    environment.setdefault("PULUMI_CONFIG_PASSPHRASE", LAB_PASSPHRASE)
    environment |= {"LYCEUM_LAB": lab, "LYCEUM_INSIDE_CAMPUS": "1", "PS1": rf"[lab {lab}] \w \$ "}
    if (trust := STATE / "trust/lab.pem").exists():
        environment["SSL_CERT_FILE"] = str(trust)
    try:
        environment["KUBECONFIG"] = str(kubeconfig(lab))
    except SessionError:
        environment.pop("KUBECONFIG", None)
    return [*campus.enter_command(lab), environment.get("SHELL", "/bin/sh")], environment


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
