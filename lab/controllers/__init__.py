"""Stand-ins for operators whose pods do not really run: each decides the little that others wait for.

A stand-in is a module with ``decide(cache)``: from the cluster's objects to the changes it wants, without any input
or output of its own. It decides only while its operator's workload is there and ready, as the operator itself would.
The records of the layers name the modules.
"""

from collections.abc import Callable
from importlib import import_module

from config import layers
from lab.controllers.runner import Decide, run_stand_ins


def stand_ins() -> dict[str, Decide]:
    """Module below this package -> its decision, for every stand-in that a layer's record names."""
    names = (name for record in layers.LAYERS for name in record.stand_ins)
    return {name: import_module(f"{__name__}.{name}").decide for name in names}


async def run(kubeconfig: Callable[[], str | None]) -> None:
    """Runs all stand-ins until cancelled.

    Args:
        kubeconfig: Gives the admin's kubeconfig (YAML) once a cluster exists, else None. Asked about once a second,
            so it must be cheap; its server address must be reachable from where this runs.
    """
    await run_stand_ins(tuple(stand_ins().values()), kubeconfig)
