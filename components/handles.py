"""What one layer hands to the next."""

from dataclasses import dataclass

import pulumi

from config.hosts import Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A virtual machine that answers SSH, from hosts to cluster.

    Attributes:
        spec: Its settings; plain values, so loops and names can use them.
        host_key: Its SSH host key as one `known_hosts` key field, read through the guest agent.
    """

    spec: Node
    host_key: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """How to log in to every machine.

    Attributes:
        user: User name; may use sudo without a password.
        private_key: PEM, secret.
    """

    user: str
    private_key: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAccess:
    """A running cluster, from cluster to everything above.

    Attributes:
        kubeconfig: Administrator's kubeconfig for the API address, secret; known once every node is Ready.
    """

    kubeconfig: pulumi.Output[str]
