"""MetalLB: addresses of the campus network for Services (R24)."""

from typing import ClassVar

import pulumi

from components.layer import ANY_TAINT, Layer, LayerArgs, Values, sample_object

POOL = "campus"
API = "metallb.io/v1beta1"
NAMESPACE = "metallb-system"


class LoadBalancers(Layer):
    """MetalLB in layer-2 mode with the site's pool.

    Creates: namespace, release, IPAddressPool, L2Advertisement.
    Waits for: controller and speakers, then the webhook that checks the pool: the controller is ready before it listens.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:LoadBalancers"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.add_release("metallb", values())
        spec = {"addresses": [str(self.site.network.load_balancers)], "avoidBuggyIPs": True}
        answers = self.add_webhook_check("metallb", sample_object("IPAddressPool", API, spec, namespace=NAMESPACE))
        pool = self.add_custom_resource(POOL, "IPAddressPool", API, spec, after=[answers], namespace=NAMESPACE)
        self.add_custom_resource(
            POOL,
            "L2Advertisement",
            API,
            {"ipAddressPools": [POOL]},
            after=[pool],
            namespace=NAMESPACE,
        )
        self.ready = (pool,)
        self.register_outputs({})


def values() -> Values:
    """Chart values. FRR serves BGP, which layer 2 does not need; the chart turns it on since 0.16."""
    return {
        "frrk8s": {"enabled": False},
        # A node without a speaker never announces the address of a Service whose pods it has.
        "speaker": {"frr": {"enabled": False}, "tolerateMaster": True, "tolerations": ANY_TAINT},
        "crds": {"enabled": True, "validationFailurePolicy": "Fail"},
    }
