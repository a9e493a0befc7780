"""The site of the benchmark, in a module of its own because each contender's process reads it."""

from config.site import Site
from tests.support.sites import site

SERVERS = 3
PORT = 8080
VERSION = "v1.36.4+k3s1"


def make_site(count: int) -> Site:
    """A site with `count` machines from 10.21.1.1 on; the first server has the API address, because kube-vip does not run."""
    agents = count - SERVERS
    return site(
        {
            "network": {"cidr": "10.21.0.0/16", "gateway": "10.21.0.1", "api-address": "10.21.1.1"},
            "k3s": {"binaries": f"http://10.21.0.1:{PORT}", "version": VERSION},
            "nodes": [
                {"name": f"server-[1-{SERVERS}]", "role": "server", "host": "pve1", "shape": "server",
                 "address": f"10.21.1.[1-{SERVERS}]"},
                {"name": f"gpu-[01-{agents:02d}]", "role": "worker", "host": "pve1", "shape": "server", "gpus": [],
                 "address": f"10.21.1.[{SERVERS + 1}-{count}]"},
            ],
        }
    )  # fmt: skip
