"""MetalLB: addresses of the campus network for Services (R24)."""

from typing import ClassVar

import pulumi

from components.layer import Layer, LayerArgs, Values

POOL = "campus"


class LoadBalancers(Layer):
    """MetalLB in layer-2 mode with the site's pool.

    Creates: namespace, release, IPAddressPool, L2Advertisement.
    Waits for: controller and speakers, because the pool's webhook must answer (metallb#1540).
    """

    TOKEN: ClassVar[str] = "lyceum:platform:LoadBalancers"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("metallb", values())
        pool = self.add_custom_resource(
            POOL,
            "IPAddressPool",
            "metallb.io/v1beta1",
            {"addresses": [str(self.site.network.load_balancers)], "avoidBuggyIPs": True},
            after=[release],
            namespace="metallb-system",
        )
        self.add_custom_resource(
            POOL,
            "L2Advertisement",
            "metallb.io/v1beta1",
            {"ipAddressPools": [POOL]},
            after=[pool],
            namespace="metallb-system",
        )
        self.ready = (pool,)
        self.register_outputs({})


def values() -> Values:
    """Chart values. FRR serves BGP, which layer 2 does not need; the chart turns it on since 0.16."""
    return {
        "frrk8s": {"enabled": False},
        "speaker": {"frr": {"enabled": False}, "tolerateMaster": True},
        "crds": {"enabled": True, "validationFailurePolicy": "Fail"},
    }
