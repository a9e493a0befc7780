"""The `cloud-init` command of a VM, as far as scripts wait for it."""

import os
import sys
import time

from lab.host.guest.systemctl import ask

UNIT = "cloud-final.service"
DONE = "/var/lib/cloud/instance/sem/runcmd"
"""Exists once what user data runs has run."""


def main(argv: list[str]) -> int:
    """`cloud-init status [--wait]`: done once what runs at first boot has run."""
    words = argv[1:]
    if not words or words[0] != "status":
        sys.stderr.write("cloud-init: the lab answers `status` only\n")
        return 2
    while True:
        _, state, _ = ask(["show", "-p", "UnitFileState,ActiveState", "--value", UNIT])
        # Properties come one a line, in the order of the question.
        enabled, active = state.split()
        if enabled != "enabled" or active == "active" or os.path.exists(DONE):
            sys.stdout.write("status: done\n")
            return 0
        if active == "failed":
            sys.stdout.write("status: error\n")
            return 1
        if "--wait" not in words:
            sys.stdout.write("status: running\n")
            return 0
        time.sleep(0.1)
