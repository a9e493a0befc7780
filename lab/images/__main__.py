"""`make lab-programs`: builds what pods of the lab need, once for this machine.

python -m lab.images [--list]
"""

import argparse
import sys

from config.errors import LyceumError
from lab.images import available, ensure_all
from toolchain.console import print_line


def main(words: list[str]) -> int:
    """Returns 0 when everything is there."""
    parser = argparse.ArgumentParser(prog="python -m lab.images", description="Builds the images of the lab.")
    parser.add_argument("--list", action="store_true", help="list the images and change nothing")
    options = parser.parse_args(words)
    try:
        built = available() if options.list else ensure_all()
    except LyceumError as error:
        print_line(f"lab-programs: {error}")
        return 1
    if options.list:
        for image in built.images:
            size = sum(archive.stat().st_size for archive in image.layers.values())
            for name in image.names:
                print_line(f"  {size >> 20:>5} MiB  {name}")
        for name in built.missing:
            print_line(f"    missing  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
