"""A machine to run node scripts on: a directory in place of `/`, and stand-ins for the commands that change a machine."""

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM_PATH = re.compile(r"(?<![\w./-])/(etc|home|usr/local|run|var)(?=/)")
"""Paths that a script writes to; /dev, /bin and the rest stay the real ones."""
VERSION = "v1.36.4+k3s1"

LOG = 'printf "%s\\n" "${0##*/} $*" >>"$LYCEUM_TEST/log"\n'
STUBS = {
    "hostname": "echo server-1\n",
    "cloud-init": LOG + 'cat "$LYCEUM_TEST/cloud-init" 2>/dev/null && exit 1; echo "status: done"\n',
    "sysctl": LOG,
    "apt-get": LOG,
    "ip": 'echo "2: ens18    inet 10.9.0.31/16 brd 10.9.255.255 scope global ens18"\n',
    "findmnt": 'cat "$LYCEUM_TEST/mount" 2>/dev/null || echo "/ rw,relatime"\n',
    "useradd": LOG + 'touch "$LYCEUM_TEST/account-${*: -1}"\n',
    "id": '[[ -e $LYCEUM_TEST/account-$2 ]] || exec /usr/bin/id "$@"\n',
    # A test is not root; who shall own what is in the log.
    "chown": LOG,
    "journalctl": 'echo "the last lines of the journal"\n',
    # The real one waits; what is tested here does not take time.
    "sleep": "",
    "systemctl": LOG
    + """
quiet=
case $1 in
-q) quiet=1; shift ;;
esac
case $1 in
is-active)
    state=inactive
    [[ ! -e $LYCEUM_TEST/active-$2 ]] || state=active
    [[ $quiet ]] || echo $state
    [[ $state == active ]]
    ;;
start | restart)
    [[ ! -e $LYCEUM_TEST/broken ]] || exit 1
    : >"$LYCEUM_TEST/active-$2"
    [[ $2 == k3s* ]] || exit 0
    : >"$LYCEUM_TEST/api"
    server=$LYCEUM_TEST/../root/var/lib/rancher/k3s/server
    mkdir -p "$server/tls"
    echo "the cluster's CA" >"$server/tls/server-ca.crt"
    [[ -e $LYCEUM_TEST/../root/etc/rancher/k3s/k3s.yaml ]] ||
        echo "server: https://127.0.0.1:6443" >"$LYCEUM_TEST/../root/etc/rancher/k3s/k3s.yaml"
    ;;
esac
""",
    "curl": LOG
    + """
url=${*: -1} out= given=$*
while (($#)); do
    case $1 in -o) out=$2 url=$3; break ;; esac
    shift
done
case $given in *--head*) cat "$LYCEUM_TEST/headers" 2>/dev/null; exit ;; esac
case $url in
*/cacerts) [[ -e $LYCEUM_TEST/api ]] && echo CA || exit 7 ;;
*) cp "$LYCEUM_TEST/mirror/${url##*/}" "$out" ;;
esac
""",
}
K3S = f"""#!/bin/bash
printf '%s\\n' "k3s $*" >>"$LYCEUM_TEST/log"
case $* in
--version) echo 'k3s version {VERSION} (abcdef)' ;;
*'get nodes '*) for node in gpu-1 gpu-2; do echo "$node $(cat "$LYCEUM_TEST/ready" 2>/dev/null || printf True)"; done ;;
*'get node'*) cat "$LYCEUM_TEST/ready" 2>/dev/null || printf True ;;
esac
"""


@dataclass(frozen=True)
class ScriptResult:
    """Result of a script."""

    code: int
    stdout: str
    stderr: str


class FakeMachine:
    """A directory that scripts see as a machine; its files stay from one script to the next."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.state = directory / "state"
        self.commands = directory / "bin"
        for path in (self.root, self.commands, self.state / "mirror", self.root / "usr/local/bin", self.root / "run"):
            path.mkdir(parents=True)
        for name, body in STUBS.items():
            self.stub(name, body)
        self.serve_k3s(K3S)

    def stub(self, name: str, body: str) -> None:
        """Replaces a command by a stand-in."""
        path = self.commands / name
        path.write_text(f"#!/bin/bash\n{body}")
        path.chmod(0o755)

    def serve_k3s(self, binary: str, *, checksum: str | None = None) -> str:
        """What the mirror serves as K3s, with its checksum or another; returns the one in the checksum file."""
        stated = checksum or hashlib.sha256(binary.encode()).hexdigest()
        (self.state / "mirror" / "k3s").write_text(binary)
        (self.state / "mirror" / "sha256sum-amd64.txt").write_text(f"{'0' * 64}  k3s-images.txt\n{stated}  k3s\n")
        return stated

    def path(self, absolute: str) -> Path:
        """Where a path of the machine really is."""
        return self.root / absolute.lstrip("/")

    def write(self, absolute: str, text: str) -> None:
        """Puts a file on the machine."""
        self.path(absolute).parent.mkdir(parents=True, exist_ok=True)
        self.path(absolute).write_text(text)

    def set_state(self, name: str, text: str = "") -> None:
        """Sets a value that the stand-ins read."""
        (self.state / name).write_text(text)

    def run(self, script: str, command: str = "exec bash -s") -> ScriptResult:
        """Runs a script as SSH would: on the standard input of a command, bash if none is given.

        The script's first line tells the stand-ins its process.
        """
        moved = SYSTEM_PATH.sub(lambda found: f"{self.root}/{found[1]}", script)
        done = subprocess.run(
            ["bash", "-c", command],
            input=f"export LYCEUM_SCRIPT=$$\n{moved}",
            env={
                "PATH": f"{self.commands}:{os.environ['PATH']}",
                "LYCEUM_TEST": str(self.state),
                "HOSTNAME": "server-1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return ScriptResult(done.returncode, done.stdout, done.stderr.replace(str(self.root), ""))

    @property
    def log(self) -> list[str]:
        """Every call of a stand-in, with its arguments."""
        path = self.state / "log"
        return path.read_text().replace(str(self.root), "").splitlines() if path.exists() else []

    def clear_log(self) -> None:
        """Empties the log."""
        (self.state / "log").unlink(missing_ok=True)

    def calls_of(self, start: str) -> list[str]:
        """Calls that begin with this text."""
        return [line for line in self.log if line.startswith(start)]

    def files(self) -> dict[str, tuple[str, int, int]]:
        """Every file but the lock of whoever works here: content, mode, time of its last change."""
        return {
            f"/{path.relative_to(self.root)}": (path.read_text(), path.stat().st_mode & 0o777, path.stat().st_mtime_ns)
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.stem != "lyceum-node"
        }
