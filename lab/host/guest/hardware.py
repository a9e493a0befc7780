"""Commands that would list the machine's hardware: they list the VM's."""

import json
import os
import sys
from pathlib import Path
from typing import Any

MACHINE = Path("/run/lab/machine.json")


def read_machine() -> dict[str, Any]:
    """The VM's hardware, as the lab gave it."""
    data: dict[str, Any] = json.loads(MACHINE.read_text())
    return data


def lspci(words: list[str]) -> int:
    """List the passed-through cards; `-n`, `-nn` and `-D` as lspci has them."""
    flags = "".join(word.lstrip("-") for word in words if word.startswith("-"))
    for gpu in read_machine()["gpus"]:
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
    """List the cards, marked as simulated."""
    gpus = read_machine()["gpus"]
    if not gpus:
        sys.stderr.write("NVIDIA-SMI has failed because no devices were found\n")
        return 6
    if words and words[0] not in {"-L", "--list-gpus"}:
        sys.stderr.write("nvidia-smi: the lab's cards are simulated; it lists them (-L) and nothing more\n")
        return 2
    for index, gpu in enumerate(gpus):
        sys.stdout.write(f"GPU {index}: {gpu['name']} (UUID: GPU-{gpu['uuid']}) [simulated]\n")
    return 0


COMMANDS = {"lspci": lspci, "nvidia-smi": nvidia_smi}


def main(argv: list[str]) -> int:
    """Run the command by the name it was called with."""
    return COMMANDS[os.path.basename(argv[0])](argv[1:])  # noqa: PTH119
