"""Entry point of `components/proxmox/client.py` for the engine: the state of every stack names this path (ADR 28).

With another path the command would differ, and the engine would run it again for every host and machine of every campus.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from components.proxmox.client import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
