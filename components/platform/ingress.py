"""ingress-nginx: one address for all pages (R24)."""

from typing import ClassVar

import pulumi

from components.layer import INGRESS_CLASS, Layer, LayerArgs, Values, sample_object
from config.site import Site


class Ingress(Layer):
    """ingress-nginx as a DaemonSet on the workers, at one address of the pool.

    Creates: namespace, release.
    Waits for: the controllers and the Service's address, then the webhook that checks every Ingress.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Ingress"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.add_release("ingress-nginx", values(self.site))
        spec = {
            "ingressClassName": INGRESS_CLASS,
            "defaultBackend": {"service": {"name": "none", "port": {"number": 80}}},
        }
        sample = sample_object("Ingress", "networking.k8s.io/v1", spec, namespace="ingress-nginx")
        self.ready = (self.add_webhook_check("ingress-nginx", sample),)
        self.register_outputs({})


def ingress_address(site: Site) -> str:
    """Address of the ingress: the given one, or the first of MetalLB's pool."""
    return str(site.network.ingress_address or site.network.load_balancers.first)


def values(site: Site) -> Values:
    """Chart values. `Local` keeps the clients' addresses, which needs a controller on every worker."""
    return {
        "controller": {
            "kind": "DaemonSet",
            "service": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "annotations": {"metallb.io/loadBalancerIPs": ingress_address(site)},
            },
            "ingressClassResource": {"name": INGRESS_CLASS, "default": True},
            # With snippets, anyone who may create an Ingress can read every Secret (CVE-2021-25742).
            "allowSnippetAnnotations": False,
            # Notebooks upload data sets; their size is not limited.
            "config": {"proxy-body-size": "0"},
            "metrics": {
                "enabled": True,
                "serviceMonitor": {"enabled": site.platform.monitoring.enabled},
            },
            # Otherwise a hook Job makes the certificate, and a lost Job blocks every later Ingress (ingress-nginx#5401).
            "admissionWebhooks": {"certManager": {"enabled": site.platform.certificates.enabled}},
        }
    }
