"""Stand-ins for operators whose pods do not really run: each decides the little that others wait for.

A stand-in is a module with ``decide(cache)``: from the cluster's objects to the changes it wants, without any input
or output of its own. It decides only while its operator's workload is there and ready, as the operator itself would.
"""

from collections.abc import Callable

from lab.controllers import ceph, certificates, ingress, kueue, loadbalancer, prometheus, volumes
from lab.controllers.gpu import drivers, features, operator, sharing
from lab.controllers.runner import Decide, run_stand_ins

__all__ = ["STAND_INS", "run"]

STAND_INS: dict[str, Decide] = {
    "loadbalancer": loadbalancer.decide,
    "ingress": ingress.decide,
    "certificates": certificates.decide,
    "ceph": ceph.decide,
    "volumes": volumes.decide,
    "features": features.decide,
    "gpu-operator": operator.decide,
    "gpu-drivers": drivers.decide,
    "gpu-sharing": sharing.decide,
    "kueue": kueue.decide,
    "prometheus": prometheus.decide,
}
"""Name -> decision. A controller that runs for real replaces its stand-in, by leaving it out."""


async def run(kubeconfig: Callable[[], str | None]) -> None:
    """Runs all stand-ins until cancelled.

    Args:
        kubeconfig: Gives the admin's kubeconfig (YAML) once a cluster exists, else None. Asked about once a second,
            so it must be cheap; its server address must be reachable from where this runs.
    """
    await run_stand_ins(tuple(STAND_INS.values()), kubeconfig)
