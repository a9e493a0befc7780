"""What every layer on Kubernetes is made of: namespaces, Helm releases, custom resources; and how a record becomes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.base import Component
from config import layers
from config.base import format_size
from config.hosts import Node
from config.layer_record import LayerRecord
from config.site import Site

Values = dict[str, Any]
Ready = Mapping[str, tuple[pulumi.Resource, ...]]
"""Name of a layer -> what exists once it can be used."""
INGRESS_CLASS, ISSUER = "nginx", "campus"
"""What every page names: the ingress that serves it, and the ClusterIssuer that signs for it."""
BLOCK, NFS, LOCAL = "ceph-block", "nfs-client", "local-path"
"""Storage classes: replicated on the site's own disks, the campus's NFS server, K3s's directory on the node."""
DEFAULT_TIMEOUT = 600
"""Seconds until a release must be ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerArgs:
    """What every layer is made from.

    Attributes:
        record: Its record in `config.layers`.
        site: The campus.
        nodes: Nodes in service.
        after: Resources that must exist first.
        secrets: The secrets that its record names, by name.
        files: Contents of the files that the site names, by setting.
    """

    record: LayerRecord
    site: Site
    nodes: tuple[Node, ...]
    after: tuple[pulumi.Resource, ...]
    secrets: Mapping[str, pulumi.Input[str]]
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerGroupArgs:
    """What a group of layers is made from.

    Attributes:
        site: The campus.
        nodes: Nodes in service.
        secrets: Every secret that a layer of the site may need, by name.
        files: Contents of the files that the site names, by setting.
        ready: What the layers of earlier groups made.
    """

    site: Site
    nodes: tuple[Node, ...]
    secrets: Mapping[str, pulumi.Input[str]]
    files: Mapping[str, str]
    ready: Ready


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


def ingress_values(site: Site, host: str, secret: str) -> Values:
    """The `ingress` values that charts share: one host, with a certificate from the site's issuer in a Secret."""
    return {
        "enabled": site.platform.ingress.enabled,
        "ingressClassName": INGRESS_CLASS,
        "hosts": [host],
        "annotations": {"cert-manager.io/cluster-issuer": ISSUER},
        "tls": [{"secretName": secret, "hosts": [host]}],
    }


class Layer(Component):
    """Base of the layers: it installs the charts of its record, in namespaces of its own."""

    ready: tuple[pulumi.Resource, ...]
    """What exists once another layer can use this one; each layer sets it."""

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.record = args.record
        self.site = args.site
        self.nodes = args.nodes
        self.secrets = args.secrets
        self.files = args.files
        self._after = list(args.after)
        self._namespaces: dict[str, k8s.core.v1.Namespace] = {}

    def add_release(
        self, chart: str, values: Values, after: Sequence[pulumi.Resource] = (), timeout: int = DEFAULT_TIMEOUT
    ) -> k8s.helm.v3.Release:
        """Installs a chart of the record under its own name, so that the names of its objects never change.

        A Release, not a Chart: most of these charts have hooks, which Chart leaves out (pulumi-kubernetes#3284).

        Raises:
            LookupError: the record does not name the chart.
        """
        return k8s.helm.v3.Release(
            chart,
            name=chart,
            namespace=self._namespace(self.record.release(chart).namespace),
            values=values,
            timeout=timeout,
            skip_await=False,
            opts=self.child(
                depends_on=[*self._after, *after],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{timeout}s", update=f"{timeout}s", delete=f"{timeout}s"),
            ),
            **chart_arguments(self.site, chart),
        )

    def _namespace(self, name: str) -> pulumi.Input[str]:
        """A namespace by its name; one of the record's own is created with its Pod Security level at first use."""
        record = self.record.namespace(name)
        if record is None:
            return name
        if name not in self._namespaces:
            # The cluster's default is `restricted`.
            labels = {"pod-security.kubernetes.io/enforce": record.level.value}
            self._namespaces[name] = k8s.core.v1.Namespace(
                f"{name}-namespace",
                metadata={"name": name, "labels": labels},
                opts=self.child(depends_on=self._after),
            )
        return self._namespaces[name].metadata.name

    def add_custom_resource(
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
            wait_for: Condition that ends the wait, as `kubectl wait --for` takes it.
        """
        metadata: dict[str, Any] = {"name": name}
        # An empty map would be a permanent difference: the API server drops it.
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


def component_class(record: LayerRecord) -> type[Layer]:
    """The class that a record names.

    Raises:
        ModuleNotFoundError, AttributeError: there is no such module or class.
        TypeError: the class is not a layer.
    """
    module, _, name = record.component.partition(":")
    found = getattr(import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Layer)):
        raise TypeError(f"layer {record.name}: `{record.component}` is not a Layer")
    return found


def install_layers(group: str, args: LayerGroupArgs, parent: Component) -> Ready:
    """Creates the layers of a group that the site switches on, below its component.

    A layer waits for those that it needs and for nothing else, so that they come up side by side.
    """
    ready = dict(args.ready)
    for record in layers.LAYERS:
        if record.group == group and record.is_on(args.site):
            layer = component_class(record)(
                record.name,
                LayerArgs(
                    record=record,
                    site=args.site,
                    nodes=args.nodes,
                    after=tuple(one for need in record.needs for one in ready.get(need.layer, ())),
                    secrets={name: args.secrets[name] for name in record.secrets},
                    files=args.files,
                ),
                pulumi.ResourceOptions(parent=parent),
            )
            ready[record.name] = layer.ready
    return ready
