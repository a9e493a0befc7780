"""The cluster layer alone on existing machines: what `lyceum up` does between VMs and platform."""

import json
import os
from pathlib import Path

import pulumi

from bench.bootstrap.site import make_site
from bench.bootstrap.steps import AGENT_TOKEN, TOKEN
from components.cluster.k3s import K3s, K3sArgs
from components.handles import Login, NodeHandle

facts = json.loads(Path(os.environ["BENCH_FACTS"]).read_text())
site = make_site(int(os.environ["BENCH_COUNT"]))
chosen = [node for node in site.machines if node.name in facts["keys"]]
K3s(
    "k3s",
    K3sArgs(
        site=site,
        machines=tuple(
            NodeHandle(spec=node, host_key=pulumi.Output.from_input(facts["keys"][node.name])) for node in chosen
        ),
        login=Login(user="lyceum", private_key=pulumi.Output.secret(facts["private_key"])),
        token=pulumi.Output.secret(TOKEN),
        agent_token=pulumi.Output.secret(AGENT_TOKEN),
        ca="",
        known_ca="",
    ),
)
