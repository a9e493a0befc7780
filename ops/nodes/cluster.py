"""Connects to the cluster of a stack, or explains why it does not answer."""

from config.errors import LyceumError, OperationRefusedError
from ops.checks import api_outage
from ops.clients.kubernetes import MOVE_SECONDS, Kube
from ops.engine.engine import Engine


def connect_to_cluster(engine: Engine) -> Kube | None:
    """The cluster's API; None if the stack never had a cluster.

    Raises:
        OperationRefusedError: there is a cluster and it does not answer, so it is unknown what its nodes hold.
    """
    kube = Kube.connect(engine, MOVE_SECONDS)
    if kube is None and engine.kubeconfig():
        raise OperationRefusedError(
            api_outage.explain_outage(engine)
            or f"the API of {engine.stack.site.title} does not answer, so it is unknown what its nodes hold. "
            f"./lyceum status {engine.stack.name}; to delete everything: ./lyceum destroy"
        )
    return kube


def require_cluster(engine: Engine) -> Kube:
    """The cluster's API.

    Raises:
        LyceumError: the stack has no cluster yet, or it does not answer.
    """
    kube = connect_to_cluster(engine)
    if kube is None:
        raise LyceumError(f"{engine.stack.name} has no cluster yet; ./lyceum up {engine.stack.name}")
    return kube
