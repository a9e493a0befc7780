"""MetalLB: addresses of the campus network for Services (R24)."""

from typing import ClassVar

import pulumi

from components.layer import Layer, LayerArgs, PodSecurity

POOL = "campus"


class LoadBalancers(Layer):
    """MetalLB in layer-2 mode with the site's pool.

    Creates: namespace, release, IPAddressPool, L2Advertisement.
    Waits for: controller and speakers, because the pool's webhook must answer (metallb#1540).
    """

    TOKEN: ClassVar[str] = "lyceum:platform:LoadBalancers"  # noqa: S105 - a type token
    pool: pulumi.Resource
    """What a Service of type LoadBalancer needs to exist."""

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        namespace = self.namespace("metallb-system", PodSecurity.PRIVILEGED)
        release = self.release("metallb", namespace, values())
        self.pool = self.custom(
            POOL,
            "IPAddressPool",
            "metallb.io/v1beta1",
            {"addresses": [str(self.site.network.load_balancers)], "avoidBuggyIPs": True},
            after=[release],
            namespace="metallb-system",
        )
        self.custom(
            POOL,
            "L2Advertisement",
            "metallb.io/v1beta1",
            {"ipAddressPools": [POOL]},
            after=[self.pool],
            namespace="metallb-system",
        )
        self.register_outputs({})


def values() -> dict[str, object]:
    """Chart values. FRR serves BGP, which layer 2 has no use for; the chart turns it on since 0.16."""
    return {
        "frrk8s": {"enabled": False},
        "speaker": {"frr": {"enabled": False}, "tolerateMaster": True},
        "crds": {"enabled": True, "validationFailurePolicy": "Fail"},
    }
