"""The `cloud-init` command of a VM, as far as scripts wait for it."""

import sys


def main(argv: list[str]) -> int:
    """`cloud-init status [--wait]`: everything that cloud-init does here is on the disk before the VM boots."""
    if argv[1:2] != ["status"]:
        sys.stderr.write("cloud-init: the lab answers `status` only\n")
        return 2
    sys.stdout.write("status: done\n")
    return 0
