"""What every layer on Kubernetes is made of: namespaces, Helm releases, custom resources; and how a record becomes one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.base import Component
from components.cluster import ssh
from components.cluster.webhooks import webhook_script
from components.handles import Shell
from config import layers
from config.base import format_size
from config.hosts import Node
from config.layer_record import LayerRecord
from config.resource_names import Part, resource_name
from config.site import Site

Values = dict[str, Any]
Ready = Mapping[str, tuple[pulumi.Resource, ...]]
"""Name of a layer -> what exists once it can be used."""
INGRESS_CLASS, ISSUER = "nginx", "campus"
"""What every page names: the ingress that serves it, and the ClusterIssuer that signs for it."""
QUEUE, QUEUE_API, QUEUE_LABEL = "campus", "kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/queue-name"
"""The ClusterQueue of everything in service, the API of queues, and the label of a workload that names its LocalQueue."""
BLOCK, NFS, LOCAL = "ceph-block", "nfs-client", "local-path"
"""Storage classes: replicated on the site's own disks, the campus's NFS server, K3s's directory on the node."""
ANY_TAINT: list[Values] = [{"operator": "Exists"}]
"""Tolerations of a daemon that must stand on a node whatever the site taints it with; its chart tolerates one taint or none."""
MONITORING, MONITORING_API = "monitoring", "monitoring.coreos.com/v1"
"""Namespace of Prometheus, and API of what it is to read and to alert on."""
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
        secrets: The secrets that its record names and that the site needs, by name.
        files: Contents of the files that the site names, by setting.
        shell: A server of the cluster.
    """

    record: LayerRecord
    site: Site
    nodes: tuple[Node, ...]
    after: tuple[pulumi.Resource, ...]
    secrets: Mapping[str, pulumi.Input[str]]
    files: Mapping[str, str]
    shell: Shell


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerGroupArgs:
    """What a group of layers is made from.

    Attributes:
        site: The campus.
        nodes: Nodes in service.
        secrets: Every secret that a layer of the site may need, by name.
        files: Contents of the files that the site names, by setting.
        shell: A server of the cluster.
        ready: What the layers of earlier groups made.
    """

    site: Site
    nodes: tuple[Node, ...]
    secrets: Mapping[str, pulumi.Input[str]]
    files: Mapping[str, str]
    shell: Shell
    ready: Ready


def chart_arguments(site: Site, name: str) -> dict[str, Any]:
    """Chart, version and repository arguments of a Release, from upstream or from the site's mirror.

    Without Helm's `caFile`, which replaces the public roots: the engine trusts the campus's CA in addition (ops/engine/stack.py).
    """
    pin = site.chart(name)
    source = pin.repo if site.charts == "upstream" else site.charts
    if source.startswith("oci://"):
        return {"chart": f"{source}/{name}", "version": pin.version}
    return {
        "chart": name,
        "version": pin.version,
        "repository_opts": k8s.helm.v3.RepositoryOptsArgs(repo=source),
    }


def quantity(mib: int) -> str:
    """A size as Kubernetes writes it: 65536 MiB -> `64Gi`."""
    return format_size(mib).replace(" ", "").removesuffix("B")


def sample_object(kind: str, api_version: str, spec: Mapping[str, Any], namespace: str | None = None) -> Values:
    """An object to offer to a webhook as a dry run; it is never stored."""
    metadata = {"name": "webhook-check"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


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
        self.shell = args.shell
        self._after = list(args.after)
        self._namespaces: dict[str, k8s.core.v1.Namespace] = {}
        self._releases: dict[str, tuple[k8s.helm.v3.Release, Values]] = {}

    def add_release(
        self,
        chart: str,
        values: Values,
        after: Sequence[pulumi.Resource] = (),
        timeout: int = DEFAULT_TIMEOUT,
        *,
        skip_await: bool = False,
    ) -> k8s.helm.v3.Release:
        """Installs a chart of the record under its own name, so that the names of its objects never change.

        A Release, not a Chart: most of these charts have hooks, which Chart leaves out (pulumi-kubernetes#3284).

        Args:
            chart: Name of the chart.
            values: Its values.
            after: What it needs beside what every release of the layer does.
            timeout: Seconds until it must be ready.
            skip_await: It is there as soon as its objects are, ready or not; something else must wait for its pods.

        Raises:
            LookupError: the record does not name the chart.
        """
        release = k8s.helm.v3.Release(
            chart,
            name=chart,
            namespace=self.add_namespace(self.record.release(chart).namespace),
            values=values,
            # Without it the provider leaves out empty lists, and the chart's defaults come instead.
            allow_null_values=True,
            timeout=timeout,
            skip_await=skip_await,
            opts=self.child(
                depends_on=[*self._after, *after],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{timeout}s", update=f"{timeout}s", delete=f"{timeout}s"),
            ),
            **chart_arguments(self.site, chart),
        )
        self._releases[chart] = release, values
        return release

    def add_webhook_check(self, chart: str, sample: Mapping[str, Any]) -> pulumi.Resource:
        """Waits until the admission webhook of a release of this layer answers.

        A release is ready when its pods are, which may be before its webhook listens and every API server knows its
        address. The API server then refuses what the webhook should check, and the engine does not repeat that.

        Args:
            chart: The chart of the release.
            sample: An object that the webhook checks; it is offered as a dry run.

        Raises:
            KeyError: the layer has no release of that chart.
        """
        release, values = self._releases[chart]
        # With another version or other values the pods are new, and are waited for again.
        digest = hashlib.sha256(json.dumps([self.site.chart(chart).version, values], sort_keys=True).encode())
        return ssh.command(
            resource_name(chart, Part.WEBHOOK),
            self.shell.machine,
            self.shell.login,
            webhook_script(chart, str(self.site.network.api_address), sample),
            self.child(depends_on=[release]),
            triggers=[digest.hexdigest()[:12]],
        )

    def add_namespace(self, name: str, *, keep: bool = False) -> pulumi.Input[str]:
        """A namespace by its name; one of the record's own is created with its Pod Security level at first use.

        Args:
            name: Its name.
            keep: Whether it stays when the layer goes: with a namespace goes what people have in it, volumes too.
        """
        record = self.record.namespace(name)
        if record is None:
            return name
        if name not in self._namespaces:
            # The cluster's default is `restricted`.
            labels = {"pod-security.kubernetes.io/enforce": record.level.value}
            self._namespaces[name] = k8s.core.v1.Namespace(
                f"{name}-namespace",
                metadata={"name": name, "labels": labels},
                opts=self.child(depends_on=self._after, retain_on_delete=keep or None),
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
        namespace: pulumi.Input[str] | None = None,
        wait_for: str | None = None,
        labels: Mapping[str, str] | None = None,
        resource: str | None = None,
    ) -> k8s.apiextensions.CustomResource:
        """Creates a custom resource after the release that brings its kind.

        Args:
            name: Name of the object.
            kind: Its kind.
            api_version: Its group and version.
            spec: Its `spec`.
            after: What brings its definition and answers its webhook.
            namespace: Namespace, for namespaced kinds.
            wait_for: Condition that ends the wait, as `kubectl wait --for` takes it.
            labels: Its labels.
            resource: Name of the resource; absent means kind and name.
        """
        metadata: dict[str, Any] = {"name": name}
        # An empty map would be a permanent difference: the API server drops it.
        if wait_for:
            metadata["annotations"] = {"pulumi.com/waitFor": wait_for}
        if namespace:
            metadata["namespace"] = namespace
        if labels:
            metadata["labels"] = dict(labels)
        return k8s.apiextensions.CustomResource(
            resource or f"{kind.lower()}-{name}",
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
                    secrets={name: args.secrets[name] for name in record.secrets if name in args.secrets},
                    files=args.files,
                    shell=args.shell,
                ),
                pulumi.ResourceOptions(parent=parent),
            )
            ready[record.name] = layer.ready
    return ready
