"""A real OpenSSH server on a loopback port, with keys of its own, that ends with the test."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.support.ports import free_port

START_S = 60.0


def make_key(path: Path, passphrase: str = "") -> None:
    """Writes a new Ed25519 key pair to `path` and `path`.pub."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)


class Sshd:
    """The server; it admits the user who runs the tests, by `key` or by `locked_key` (passphrase "open sesame")."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.user = getpass.getuser()
        self.port = free_port()
        self.key = directory / "key"
        self.locked_key = directory / "locked"
        directory.mkdir(parents=True)
        make_key(directory / "host")
        make_key(self.key)
        make_key(self.locked_key, "open sesame")
        allowed = [(directory / name).read_text() for name in ("key.pub", "locked.pub")]
        (directory / "authorized").write_text("".join(allowed))
        (directory / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {directory / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {directory / 'authorized'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin yes\nAcceptEnv WELCOME_* PULUMI_COMMAND_*\nSubsystem sftp internal-sftp\n"
            "AllowTcpForwarding yes\nMaxStartups 100\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        """The server's public key, as Connection.host_key wants it."""
        return (self.directory / "host.pub").read_text().strip()

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's server shuts its unprivileged part in
        server = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert server, "sshd is missing. Remedy: make setup"
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen([server, "-D", "-e", "-f", self.directory / "config"], stderr=log)
        log.close()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"sshd did not start: {(self.directory / 'log').read_text()}")

    def stop(self) -> None:
        """Ends the server; sessions that are open live on, as with any sshd."""
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=START_S)
            self._process = None
