"""What is run on machines to change a token. Pure text; node.sh's functions do the writing and the restarting.

A token travels on the standard input of root's shell and stands in files of root. The exception is K3s's own command: it takes
a new server token as an argument only (k3s, pkg/cli/cmds/token.go), and hides its arguments once it runs.
"""

import shlex

from components.cluster.bootstrap import assemble, unit_name
from components.cluster.k3s_config import AGENT_TOKEN_FILE, TOKEN_FILE
from config.hosts import Role
from config.tokens import TokenKind

SERVER_TOKEN = "/var/lib/rancher/k3s/server/token"  # noqa: S105 - a path
"""The tokens that K3s runs with, written by itself."""
SERVER_AGENT_TOKEN = "/var/lib/rancher/k3s/server/agent-token"  # noqa: S105 - a path
NODE_PASSWORD_FILE = "/var/lib/rancher/k3s/server/cred/passwd"  # noqa: S105 - a path


HASH_FUNCTION = """\
print_of() {
    [[ -s $1 ]] || { echo -; return; }
    printf %s "$(sed 's/.*://' "$1")" | sha256sum | cut -c1-12
}
"""
"""K3s's hash of the token in a file, whichever form it has there."""


def token_file(role: Role, kind: TokenKind) -> str:
    """Where K3s on a node of this role finds the token (k3s_config.py)."""
    return AGENT_TOKEN_FILE if role is Role.SERVER and kind is TokenKind.AGENT else TOKEN_FILE


def status_script(role: Role, kind: TokenKind) -> str:
    """Prints hashes of the token that K3s will start with and of the one it runs with, and whether it is up.

    Four words: `config.key_derivation.token_hash` of each or `-`, `due` or `kept`, and systemd's state.
    """
    own = SERVER_TOKEN if kind is TokenKind.SERVER else SERVER_AGENT_TOKEN
    running = f"$(print_of {own})" if role is Role.SERVER else "-"
    due = "$([[ -e $pending ]] && echo due || echo kept)"
    state = f"$(systemctl is-active {unit_name(role)} || true)"
    return assemble([HASH_FUNCTION, f"echo $(print_of {token_file(role, kind)}) {running} {due} {state}\n"])


def write_token_script(role: Role, kind: TokenKind, token: str) -> str:
    """Writes the token for K3s's next start, in the form that the old one has, and notes that a restart is due."""
    file = token_file(role, kind)
    return assemble([f"put 0600 {file} <<<\"$(grep -o '^K10.*:' {file} || true)\"{shlex.quote(token)}\n"])


def rotate_script(token: str) -> str:
    """Changes the server token: the cluster's bootstrap data is encrypted anew, from this server's files.

    With the token that is in use it only saves the bootstrap data, which K3s itself does not do when the agent token
    has changed: without it, each server refuses its second start from then (rancher/rke2#5785).
    """
    return assemble([f"/usr/local/bin/k3s token rotate --new-token {shlex.quote(token)} >&2\n"])


def restart_script(role: Role) -> str:
    """Starts K3s anew where that is due.

    `passwd` goes first: K3s makes it anew from the cluster's copy, and refuses to start with one that is newer, as an
    attempt with another token leaves it.
    """
    unit = unit_name(role)
    forget = (
        f"[[ ! -e $pending ]] && systemctl -q is-active {unit} || rm -f {NODE_PASSWORD_FILE}\n"
        if role is Role.SERVER
        else ""
    )
    return assemble([forget, f"service {unit}\n"])
