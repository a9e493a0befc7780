"""The script of each node: `node.sh`, followed by this node's files and calls. Pure text, byte for byte the same each time."""

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from components.cluster import k3s_config, snapshot_access
from config.hosts import Node, Role
from config.site import Site
from config.tokens import TokenKind

NODE_SH = (Path(__file__).parent / "node.sh").read_text()
CA_FILE = "/etc/lyceum/ca.pem"
VIP_MANIFEST = "/var/lib/rancher/k3s/server/manifests/kube-vip.yaml"
_DELIMITER = "LYCEUM_END_OF_FILE"
INTERFACE_PLACEHOLDER = "LYCEUM_INTERFACE"
"""Placeholder in kube-vip's manifest for the network interface with the node's address; node.sh replaces it."""


def run_as_root() -> str:
    """The command that reads the script from its standard input, so that no secret is an argument.

    It checks sudo only after a failure, so that a successful run costs nothing more.
    """
    hint = "$(hostname): $(id -un) would have to type a password for sudo: give it NOPASSWD in /etc/sudoers.d"
    return f'sudo -n bash -s || {{ code=$?; sudo -n true 2>/dev/null || echo "{hint}" >&2; exit $code; }}'


def assemble(parts: list[str]) -> str:
    """`node.sh`, then the parts. The braces make bash read everything before it runs anything: a truncated script does nothing."""
    return "".join(["{\n", NODE_SH, "alone\n", *parts, "exit\n} </dev/null\n"])


def heredoc(call: str, content: str) -> str:
    """A call that gets the content on its standard input."""
    body = content if content.endswith("\n") else content + "\n"
    return f"{call} <<'{_DELIMITER}'\n{body}{_DELIMITER}\n"


def _put_call(mode: str, path: str, content: str) -> str:
    return heredoc(f"put {mode} {path}", content)


def k3s_binary_call(site: Site) -> str:
    """The call that installs the K3s release of the site."""
    return f"k3s_binary {shlex.join([site.k3s.version, str(site.k3s.binaries).rstrip('/'), site.k3s.sha256 or '-'])}\n"


def systemd_unit(kind: str) -> str:
    """The systemd unit as K3s's installer writes it (docs.k3s.io, install.sh), without what a pinned binary does not need."""
    return f"""[Unit]
Description=Lightweight Kubernetes ({kind})
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s {kind}
"""


def unit_name(role: Role) -> str:
    """The unit's name, as K3s's installer has it."""
    return "k3s" if role is Role.SERVER else "k3s-agent"


def _same_token_call(kind: TokenKind, file: str, token: str) -> str:
    return shlex.join(["same_token", kind.value, file, token]) + "\n"


def _preparation_calls(site: Site, ca: str) -> list[str]:
    trust = [_put_call("0644", CA_FILE, ca)] if ca else []
    return [
        "cloud_init_done\n",
        "no_upgrades_at_night\n",
        *trust,
        f"ca=({f'--cacert {CA_FILE}' if ca else ''})\n",
        f"sysctls {shlex.join(f'{key}={value}' for key, value in k3s_config.SYSCTLS.items())}\n",
        k3s_binary_call(site),
    ]


def server_script(
    node: Node,
    site: Site,
    *,
    founding: bool,
    token: str,
    agent_token: str,
    ca: str,
    known_ca: str = "",
    snapshot: str = "",
    backup_access: str = "",
) -> str:
    """The script that makes a K3s server.

    Args:
        node: The server.
        site: Its campus.
        founding: True for the founder, which starts the cluster if none exists.
        token: Server token: without CA hash for the founder, `K10<CA hash>::server:…` for servers that join.
        agent_token: Token that agents join with.
        ca: The campus's own CA as PEM, or empty.
        known_ca: SHA-256 of the running cluster's CA, given when the founder itself was replaced.
        snapshot: Path on the machine of an etcd snapshot that a founder without data starts from, or empty.
        backup_access: Line of authorized_keys for the account that may fetch snapshots, or empty if nobody may.
    """
    url = k3s_config.api_url(site)
    manifest = k3s_config.kube_vip_manifest(site, INTERFACE_PLACEHOLDER)
    # Nodes that a restored cluster has to delete; this server first.
    members = [member for member in site.machines if member.in_cluster]
    servers = sorted(
        (member.name for member in members if member.role is Role.SERVER), key=lambda name: name != node.name
    )
    others = [member.name for member in members if member.role is not Role.SERVER]
    restore = shlex.join(["restore", snapshot, str(len(servers)), *servers, *others])
    return assemble(
        [
            _same_token_call(TokenKind.SERVER, k3s_config.TOKEN_FILE, token),
            _same_token_call(TokenKind.AGENT, k3s_config.AGENT_TOKEN_FILE, agent_token),
            *_preparation_calls(site, ca),
            shlex.join(
                ["founder", url, token, known_ca, *filter(None, [snapshot])] if founding else ["joiner", url, token]
            )
            + "\n",
            _put_call("0600", k3s_config.AGENT_TOKEN_FILE, agent_token),
            _put_call("0600", k3s_config.PSA_FILE, k3s_config.admission_configuration()),
            _put_call("0600", k3s_config.AUDIT_FILE, k3s_config.audit_policy()),
            _put_call("0644", k3s_config.RESOLV_CONF, k3s_config.resolv_conf(site)),
            _put_call("0600", "/etc/rancher/k3s/config.yaml", k3s_config.server_config(node, site)),
            f"install -d -m 0700 {Path(k3s_config.AUDIT_LOG).parent}\n",
            f"kube_vip {VIP_MANIFEST} {node.address} <<'{_DELIMITER}'\n{manifest}{_DELIMITER}\n",
            _put_call("0644", "/etc/systemd/system/k3s.service", systemd_unit("server")),
            f"{restore}\n" if founding and snapshot else "",
            "service k3s\n",
            "wait\n" if founding and snapshot else "",
            f"wait_until 120 'the API at {url}' api_answers {url} || fail 'kube-vip does not hold {url}'\n",
            f"healthy_server {node.name}\n",
            heredoc(f"keep 0755 {snapshot_access.COMMAND}", snapshot_access.SNAPSHOTS_SH) if backup_access else "",
            shlex.join(
                ["backup_access", snapshot_access.ACCOUNT, snapshot_access.HOME]
                + ([snapshot_access.COMMAND, backup_access] if backup_access else [])
            )
            + "\n",
            "access\n" if founding else "",
        ]
    )


def agent_script(node: Node, site: Site, *, token: str, ca: str) -> str:
    """The script that makes a K3s agent; `token` is `K10<CA hash>::node:…`."""
    return assemble(
        [
            _same_token_call(TokenKind.AGENT, k3s_config.TOKEN_FILE, token),
            *_preparation_calls(site, ca),
            shlex.join(["joiner", k3s_config.api_url(site), token]) + "\n",
            _put_call("0644", k3s_config.RESOLV_CONF, k3s_config.resolv_conf(site)),
            _put_call("0600", "/etc/rancher/k3s/config.yaml", k3s_config.agent_config(node)),
            _put_call("0644", "/etc/systemd/system/k3s-agent.service", systemd_unit("agent")),
            "service k3s-agent\n",
        ]
    )


def members_script(nodes: tuple[Node, ...], identities: Sequence[str] = ()) -> str:
    """The script that runs on the first server after all nodes have joined: it waits until all are Ready, sets roles and labels.

    Args:
        nodes: Members of the cluster.
        identities: Their host keys. Their hash is part of the script, so that it runs again after a machine was replaced.
    """
    by_role = {role: [node.name for node in nodes if node.role is role] for role in (Role.WORKER, Role.STORAGE)}
    servers = [node for node in nodes if node.role is Role.SERVER]
    digest = hashlib.sha256("\n".join(identities).encode()).hexdigest()
    return assemble(
        [
            f"# machines {digest}\n",
            *(shlex.join(["members", role.value, *names]) + "\n" for role, names in by_role.items() if names),
            *(f"healthy_server {node.name}\n" for node in servers),
            heredoc("node_labels", k3s_config.labels_manifest(nodes)),
        ]
    )
