"""Whether Proxmox answers, is new enough, and grants the token what Lyceum needs."""

import time
from collections.abc import Iterator

from components.proxmox.client import PveError
from config.finding import Finding
from config.proxmox_grants import ROLES, grant_command, required_grants
from config.site import Site
from ops.checks.doctor.finding import failed, passed, report_errors, unknown
from ops.clients.proxmox import ProxmoxApi

LEAST = (8, 2)
"""First version that can import an image into a disk over the API (`import-from` with content `import`)."""
SKEW = 5
"""Seconds that a node's clock may be off: etcd warns at one, tokens and TLS fail at minutes."""


def check_api(pve: ProxmoxApi, site: Site) -> Iterator[Finding]:
    """The API answers, accepts the token, and is new enough."""
    endpoint = str(site.proxmox.endpoint)
    try:
        version = str(pve.call("GET", "version")["version"])
    except PveError as error:
        if error.status == 401:
            remedy = f"create a new one, then `./lyceum secrets set {site.name} proxmox-token`"
            yield failed("reachable", f"{endpoint} does not accept the token: expired, deleted or mistyped", remedy)
        else:
            remedy = error.remedy or f"check `proxmox.endpoint`, then `curl -v {endpoint}`"
            yield failed("reachable", error.message, remedy)
        return
    major, minor, *_ = (int(part) for part in version.split("-", maxsplit=1)[0].split("."))
    if (major, minor) < LEAST:
        remedy = f"upgrade to {LEAST[0]}.{LEAST[1]} or newer; best 9"
        yield failed("version", f"Proxmox VE {version} cannot import images over its API", remedy)
    elif major < 9:
        remedy = "add VM.Monitor to the role Lyceum, which replaces the VM.GuestAgent privileges there"
        yield unknown("version", f"Proxmox VE {version} uses other guest-agent privileges", remedy)
    else:
        yield passed("version", f"Proxmox VE {version}")


def check_privileges(pve: ProxmoxApi, site: Site) -> Iterator[Finding]:
    """The token holds every privilege that Lyceum needs; names the missing ones and the command that grants them."""
    missing = 0
    paths = required_grants(site)
    for path, role in paths:
        held = pve.send("GET", "access/permissions", {"path": path}).get(path, {})
        lacking = [name for name in ROLES[role] if not held.get(name)]
        if lacking:
            missing += 1
            yield failed("privileges", f"the token lacks {', '.join(lacking)} on {path}", grant_command(path, role))
    if not missing:
        yield passed("privileges", f"the token has every privilege on {len(paths)} paths")


def check_quorum(pve: ProxmoxApi, site: Site) -> Iterator[Finding]:
    """The Proxmox cluster can change anything at all, and the site's hosts are in it."""
    nodes = {entry["node"]: entry.get("status") for entry in pve.call("GET", "nodes")}
    for host in dict.fromkeys(node.host for node in site.machines):
        if host not in nodes:
            there = ", ".join(sorted(nodes)) or "none that the token may see"
            yield failed(
                "hosts", f"{host} is not a node of this Proxmox; its nodes: {there}", "correct `hosts` in the site file"
            )
        elif nodes[host] != "online":
            yield failed("hosts", f"{host} is {nodes[host]}", "switch it on, and run `pvecm status` on another node")
    try:
        cluster = next((entry for entry in pve.call("GET", "cluster/status") if entry["type"] == "cluster"), None)
    except PveError as error:
        if error.status != 403:
            raise
        yield unknown("quorum", "the token may not read it (Sys.Audit on /)", "`pvecm status` on any node")
        return
    if cluster and not cluster.get("quorate"):
        yield failed(
            "quorum",
            "the Proxmox cluster has no quorum: nothing can be changed",
            "`pvecm status`; start the missing nodes",
        )
    else:
        yield passed("quorum", f"{len(nodes)} node(s), quorate")


def check_clocks(pve: ProxmoxApi, site: Site) -> Iterator[Finding]:
    """The clocks of the hosts agree with ours; guests start with their host's."""
    wrong = 0
    hosts = list(dict.fromkeys(node.host for node in site.machines))
    for host in hosts:
        asked = time.time()
        theirs = int(pve.call("GET", f"nodes/{host}/time")["time"])
        # Whole seconds, and the time that the answer took.
        off = theirs - (asked + time.time()) / 2
        if abs(off) > SKEW:
            wrong += 1
            remedy = f"on {host}: `timedatectl; chronyc tracking`, then `systemctl restart chrony`"
            yield failed("time", f"the clock of {host} is off by {off:.0f} s", remedy)
    if not wrong:
        yield passed("time", f"{len(hosts)} clock(s) agree within {SKEW} s")


def check_access(pve: ProxmoxApi, site: Site) -> Iterator[Finding]:
    """Everything about access; ends early where nothing further can be asked."""
    lost = False
    for finding in report_errors("reachable", check_api(pve, site)):
        lost = lost or finding.subject == "reachable"
        yield finding
    if lost:
        return
    yield from report_errors("privileges", check_privileges(pve, site))
    yield from report_errors("quorum", check_quorum(pve, site))
    yield from report_errors("time", check_clocks(pve, site))
