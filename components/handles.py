"""Values that one part of the graph passes to the next."""

from dataclasses import dataclass

import pulumi

from config.hosts import Node


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeHandle:
    """A virtual machine that can be reached by SSH; passed from hosts to cluster.

    Attributes:
        spec: Its settings, as plain values, so that loops and resource names can use them.
        host_key: Its SSH host key (type and key, as in `known_hosts`), read through the guest agent.
    """

    spec: Node
    host_key: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """How to log in to every machine by SSH.

    Attributes:
        user: User name, with sudo without a password.
        private_key: PEM, secret.
    """

    user: str
    private_key: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shell:
    """A server of the cluster, to run commands on; passed from hosts to the layers.

    Attributes:
        machine: The server.
        login: How to log in to it.
    """

    machine: NodeHandle
    login: Login


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAccess:
    """A running cluster; passed from cluster to the layers.

    Attributes:
        kubeconfig: Administrator's kubeconfig for the API address, secret; known when every node is Ready.
    """

    kubeconfig: pulumi.Output[str]
