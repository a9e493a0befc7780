"""Commands that would show or change the machine under the VM: they show the VM, and keep notes of what was asked."""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from lab.host.guest.systemctl import ask

MACHINE = Path("/run/lab/machine.json")
SYSCTL = Path("/run/lab/sysctl.json")
MODULES = Path("/run/lab/modules")
CLOUD_UNIT = "cloud-final.service"
CLOUD_DONE = Path("/var/lib/cloud/instance/sem/runcmd")
"""Exists once what user data runs has run."""


def machine() -> dict[str, Any]:
    """The VM's hardware, as the lab gave it."""
    data: dict[str, Any] = json.loads(MACHINE.read_text())
    return data


def cloud_init(words: list[str]) -> int:
    """`cloud-init status [--wait]`: done once what runs at first boot has run."""
    if not words or words[0] != "status":
        sys.stderr.write("cloud-init: the lab answers `status` only\n")
        return 2
    while True:
        _, state, _ = ask(["show", "-p", "UnitFileState,ActiveState", "--value", CLOUD_UNIT])
        # Properties come one a line, in the order of the question.
        enabled, active = state.split()
        if enabled != "enabled" or active == "active" or CLOUD_DONE.exists():
            sys.stdout.write("status: done\n")
            return 0
        if active == "failed":
            sys.stdout.write("status: error\n")
            return 1
        if "--wait" not in words:
            sys.stdout.write("status: running\n")
            return 0
        time.sleep(0.1)


def modprobe(words: list[str]) -> int:
    """Note the modules; the machine's kernel is shared and stays as it is."""
    names = [word for word in words if not word.startswith("-")]
    with MODULES.open("a") as notes:
        notes.writelines(f"{name}\n" for name in names)
    return 0


def lsmod(_: list[str]) -> int:
    """The modules that were asked for."""
    names = sorted(set(MODULES.read_text().split())) if MODULES.exists() else []
    sys.stdout.write("Module                  Size  Used by\n")
    sys.stdout.writelines(f"{name:<23} 16384  0\n" for name in names)
    return 0


def sysctl(words: list[str]) -> int:
    """Answer with what was set here, else with the kernel's value; setting is noted, and nothing else changes."""
    noted: dict[str, str] = json.loads(SYSCTL.read_text()) if SYSCTL.exists() else {}
    flags = {word for word in words if word.startswith("-")}
    rest = [word for word in words if not word.startswith("-")]
    if "--system" in flags or flags & {"-p", "--load"}:
        files = [Path(word) for word in rest] or [
            *sorted(Path("/etc/sysctl.d").glob("*.conf")),
            Path("/etc/sysctl.conf"),
        ]
        text = "\n".join(file.read_text() for file in files if file.exists())
        rest = [line for line in text.splitlines() if "=" in line and not line.lstrip().startswith(("#", ";"))]
    status = 0
    for word in rest:
        name, equals, value = (part.strip() for part in word.partition("="))
        name = name.lstrip("-").replace("/", ".")
        if equals:
            noted[name] = value
        current = noted.get(name) or _kernel(name)
        if current is None:
            sys.stderr.write(f"sysctl: cannot stat /proc/sys/{name.replace('.', '/')}: No such file or directory\n")
            status = 255
        elif not flags & {"-q", "--quiet"} or not equals:
            sys.stdout.write(f"{current}\n" if flags & {"-n", "--values"} else f"{name} = {current}\n")
    if rest and any("=" in word for word in rest):
        SYSCTL.write_text(json.dumps(noted))
    return status


def at_boot() -> None:
    """Do what systemd-modules-load and systemd-sysctl do before anything else starts."""
    files = sorted(Path("/etc/modules-load.d").glob("*.conf"))
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    modprobe([line for line in lines if line and line[0] not in "#;"])
    sysctl(["--quiet", "--system"])


def _kernel(name: str) -> str | None:
    path = Path("/proc/sys") / name.replace(".", "/")
    return path.read_text().strip() if re.fullmatch(r"[\w.-]+", name) and path.is_file() else None


def lspci(words: list[str]) -> int:
    """List the passed-through cards; `-n`, `-nn` and `-D` as lspci has them."""
    flags = "".join(word.lstrip("-") for word in words if word.startswith("-"))
    for gpu in machine()["gpus"]:
        address = gpu["address"] if "D" in flags else gpu["address"].removeprefix("0000:")
        ids = f"{gpu['vendor']}:{gpu['device']}"
        if "nn" in flags:
            line = f"{address} 3D controller [0302]: {gpu['name']} [{ids}]"
        elif "n" in flags:
            line = f"{address} 0302: {ids}"
        else:
            line = f"{address} 3D controller: {gpu['name']}"
        sys.stdout.write(f"{line}\n")
    return 0


def nvidia_smi(words: list[str]) -> int:
    """List the cards, and say that they are simulated."""
    gpus = machine()["gpus"]
    if not gpus:
        sys.stderr.write("NVIDIA-SMI has failed because no devices were found\n")
        return 6
    if words and words[0] not in {"-L", "--list-gpus"}:
        sys.stderr.write("nvidia-smi: the lab's cards are simulated; it lists them (-L) and nothing more\n")
        return 2
    for index, gpu in enumerate(gpus):
        sys.stdout.write(f"GPU {index}: {gpu['name']} (UUID: GPU-{gpu['uuid']}) [simulated]\n")
    return 0


SHIMS = {
    "cloud-init": cloud_init,
    "modprobe": modprobe,
    "lsmod": lsmod,
    "sysctl": sysctl,
    "lspci": lspci,
    "nvidia-smi": nvidia_smi,
}


def main(argv: list[str]) -> int:
    """Be the command that was called."""
    return SHIMS[os.path.basename(argv[0])](argv[1:])  # noqa: PTH119
