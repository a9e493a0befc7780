"""What every layer on Kubernetes is made of: namespaces, Helm releases, custom resources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.base import Component
from config.base import format_size
from config.hosts import Node
from config.site import Site

Values = dict[str, Any]
INGRESS_CLASS, ISSUER = "nginx", "campus"
"""What every page names: the ingress that serves it, and the ClusterIssuer that signs for it, whatever stands behind."""
BLOCK, NFS, LOCAL = "ceph-block", "nfs-client", "local-path"
"""Storage classes: replicated on our own disks, the campus's own server, K3s's directory on the node."""
DEFAULT_TIMEOUT = 600
"""Seconds until a release must be ready."""


class PodSecurity(StrEnum):
    """Pod Security Standard of a namespace (kubernetes.io, Pod Security Standards)."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerArgs:
    """What every layer is made from.

    Attributes:
        site: The campus.
        nodes: Machines in service.
        after: Resources that must exist first.
    """

    site: Site
    nodes: tuple[Node, ...]
    after: tuple[pulumi.Resource, ...] = ()


def chart_arguments(site: Site, name: str) -> dict[str, Any]:
    """Chart, version and repository arguments of a Release, from upstream or from the site's mirror."""
    pin = site.chart(name)
    source = pin.repo if site.charts == "upstream" else site.charts
    if source.startswith("oci://"):
        return {"chart": f"{source}/{name}", "version": pin.version}
    repository = k8s.helm.v3.RepositoryOptsArgs(repo=source, ca_file=str(site.ca_file) if site.ca_file else None)
    return {"chart": name, "version": pin.version, "repository_opts": repository}


def quantity(mib: int) -> str:
    """A size as Kubernetes writes it: 65536 MiB -> `64Gi`."""
    return format_size(mib).replace(" ", "").removesuffix("B")


def page(site: Site, host: str, secret: str) -> Values:
    """The `ingress` values that charts share: one host, with a certificate from the site's issuer in a Secret."""
    return {
        "enabled": site.platform.ingress.enabled,
        "ingressClassName": INGRESS_CLASS,
        "hosts": [host],
        "annotations": {"cert-manager.io/cluster-issuer": ISSUER},
        "tls": [{"secretName": secret, "hosts": [host]}],
    }


class Layer(Component):
    """Base of the layers: it installs charts in its own namespaces, in the order it is told."""

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.site = args.site
        self.nodes = args.nodes
        self._after = list(args.after)

    def namespace(self, name: str, level: PodSecurity, **labels: str) -> k8s.core.v1.Namespace:
        """Creates a namespace with its Pod Security level, against the cluster's default of `restricted`."""
        return k8s.core.v1.Namespace(
            f"{name}-namespace",
            metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": level.value, **labels}},
            opts=self.child(depends_on=self._after),
        )

    def release(
        self,
        chart: str,
        namespace: k8s.core.v1.Namespace,
        values: Values,
        after: Sequence[pulumi.Resource] = (),
        timeout: int = DEFAULT_TIMEOUT,
    ) -> k8s.helm.v3.Release:
        """Installs a chart under its own name, so that the names of its objects never change.

        A Release, not a Chart: most of these charts have hooks, which Chart leaves out (pulumi-kubernetes#3284).
        """
        return k8s.helm.v3.Release(
            chart,
            name=chart,
            namespace=namespace.metadata.name,
            values=values,
            timeout=timeout,
            skip_await=False,
            opts=self.child(
                depends_on=[*self._after, *after],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{timeout}s", update=f"{timeout}s", delete=f"{timeout}s"),
            ),
            **chart_arguments(self.site, chart),
        )

    def custom(
        self,
        name: str,
        kind: str,
        api_version: str,
        spec: Mapping[str, Any],
        *,
        after: Sequence[pulumi.Resource],
        namespace: str | None = None,
        wait_for: str | None = None,
    ) -> k8s.apiextensions.CustomResource:
        """Creates a custom resource after the release that brings its kind.

        Args:
            name: Name of the object, and of the resource behind the kind.
            kind: Its kind.
            api_version: Its group and version.
            spec: Its `spec`.
            after: What brings its definition and answers its webhook.
            namespace: Namespace, for namespaced kinds.
            wait_for: Condition that ends the wait, in the words of `kubectl wait --for`.
        """
        metadata: dict[str, Any] = {"name": name}
        # An empty map would be a difference for ever: the API server drops it.
        if wait_for:
            metadata["annotations"] = {"pulumi.com/waitFor": wait_for}
        if namespace:
            metadata["namespace"] = namespace
        return k8s.apiextensions.CustomResource(
            f"{kind.lower()}-{name}",
            api_version=api_version,
            kind=kind,
            metadata=metadata,
            spec=dict(spec),
            opts=self.child(depends_on=list(after)),
        )
