"""Scripts for machines that rotate a token. Pure text; functions of node.sh write files and restart services.

A token is passed on the standard input of root's shell and stored in files of root. K3s's own command is the exception: it takes
a new server token only as an argument (k3s, pkg/cli/cmds/token.go), and hides its arguments once it runs.
"""

import shlex

from components.cluster.bootstrap import assemble, unit_name
from components.cluster.k3s_config import AGENT_TOKEN_FILE, TOKEN_FILE
from config.hosts import Role
from config.tokens import TokenKind

SERVER_TOKEN = "/var/lib/rancher/k3s/server/token"  # noqa: S105 - a path
"""Written by K3s: the server token with which it runs; below, the agent token."""
SERVER_AGENT_TOKEN = "/var/lib/rancher/k3s/server/agent-token"  # noqa: S105 - a path
NODE_PASSWORD_FILE = "/var/lib/rancher/k3s/server/cred/passwd"  # noqa: S105 - a path


HASH_FUNCTION = """\
print_of() {
    [[ -s $1 ]] || { echo -; return; }
    printf %s "$(sed 's/.*://' "$1")" | sha256sum | cut -c1-12
}
"""
"""Shell function that prints K3s's hash of the token in a file, in its short or its full (`K10…`) format."""


def token_file(role: Role, kind: TokenKind) -> str:
    """File from which K3s on a node of this role reads the token (k3s_config.py)."""
    return AGENT_TOKEN_FILE if role is Role.SERVER and kind is TokenKind.AGENT else TOKEN_FILE


def status_script(role: Role, kind: TokenKind) -> str:
    """Script that prints a TokenStatus.

    Four words: hash of the configured and of the running token or `-`, `due` or `kept`, and the unit's state in systemd.
    """
    own = SERVER_TOKEN if kind is TokenKind.SERVER else SERVER_AGENT_TOKEN
    running = f"$(print_of {own})" if role is Role.SERVER else "-"
    due = "$([[ -e $pending ]] && echo due || echo kept)"
    state = f"$(systemctl is-active {unit_name(role)} || true)"
    return assemble([HASH_FUNCTION, f"echo $(print_of {token_file(role, kind)}) {running} {due} {state}\n"])


def write_token_script(role: Role, kind: TokenKind, token: str) -> str:
    """Script that writes the token for K3s's next start, in the format of the old one, and marks a restart as due."""
    file = token_file(role, kind)
    return assemble([f"put 0600 {file} <<<\"$(grep -o '^K10.*:' {file} || true)\"{shlex.quote(token)}\n"])


def rotate_script(token: str) -> str:
    """Script that rotates the server token: K3s encrypts the cluster's bootstrap data, from this server's files, with it.

    With the current token it only saves the bootstrap data. K3s does not do so when the agent token changes, and each
    server would refuse its second start from then on (rancher/rke2#5785).
    """
    return assemble([f"/usr/local/bin/k3s token rotate --new-token {shlex.quote(token)} >&2\n"])


def restart_script(role: Role) -> str:
    """Script that restarts K3s where a restart is due.

    It deletes `passwd` first: a start with a wrong token writes one that is newer than the cluster's copy, with which K3s
    refuses to start. K3s creates it again from that copy.
    """
    unit = unit_name(role)
    forget = (
        f"[[ ! -e $pending ]] && systemctl -q is-active {unit} || rm -f {NODE_PASSWORD_FILE}\n"
        if role is Role.SERVER
        else ""
    )
    return assemble([forget, f"service {unit}\n"])
