"""What a layer is: the one record from which graph, rules, `show`, `status`, docs, lab and tests derive. Pure.

Every field is required: a record that lacks one fails by the field's name when `config.layers` is imported.
"""

from dataclasses import dataclass
from enum import StrEnum

from config.site import Site

ALWAYS = ""
"""Switch of what is installed on every site."""


class PodSecurity(StrEnum):
    """Pod Security Standard of a namespace (kubernetes.io, Pod Security Standards)."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


def setting(site: Site, path: str) -> object:
    """The value at a path of the site file, as in `platform.gpu-operator.driver`; None below a section that is absent."""
    value: object = site
    for key in path.split("."):
        value = None if value is None else getattr(value, key.replace("-", "_"))
    return value


def is_on(site: Site, switch: str) -> bool:
    """Whether the setting at a path is switched on: by its `enabled`, or by being there at all."""
    if switch == ALWAYS:
        return True
    value = setting(site, switch)
    return value is not None and bool(getattr(value, "enabled", value))


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceRecord:
    """A namespace that a layer creates.

    Attributes:
        name: Its name; no tenant may have it.
        level: The Pod Security Standard that its pods must meet.
    """

    name: str
    level: PodSecurity


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRecord:
    """A Helm release, which has the name of its chart.

    Attributes:
        chart: The chart; its version is pinned in `config.versions`, its stand-in is in `lab/charts/catalog`.
        namespace: Where it is installed.
        switch: Setting that switches it on, beside the layer's own; or `ALWAYS`.
        mirror_only: Whether upstream publishes no chart, so that only a site with a mirror has this release.
        queues_pods: Whether Kueue may hold the pods of its namespace until there is room for them.
    """

    chart: str
    namespace: str
    switch: str
    mirror_only: bool
    queues_pods: bool

    def is_on(self, site: Site) -> bool:
        """Whether a site that has the layer has this release."""
        return is_on(site, self.switch) and not (self.mirror_only and site.charts == "upstream")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiGroup:
    """An API group that a layer brings.

    Attributes:
        group: Its name, as in `cert-manager.io`.
        definitions: Chart whose release holds the custom resource definitions.
        operator: Chart whose release reconciles the objects, and must outlive them: it removes their finalizers.
    """

    group: str
    definitions: str
    operator: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A web page under the site's domain.

    Attributes:
        label: Host label where no setting chooses it; else empty.
        setting: Path of the setting that chooses the host label; else empty.
        required: Whether the layer is useless without it, so that the site needs an ingress.
    """

    label: str
    setting: str
    required: bool

    def host_label(self, site: Site) -> str | None:
        """The host label on a site; None where the setting names none."""
        value = setting(site, self.setting) if self.setting else self.label
        return str(value) if value else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Another layer that this one waits for if it is on.

    Attributes:
        layer: Name of the other layer.
        demanded_by: Setting that is refused while the other layer is off; empty where the layer works without it.
        reason: Why, as a predicate of that setting: `needs cert-manager for its webhooks`; empty with `demanded_by`.
    """

    layer: str
    demanded_by: str
    reason: str


def waits_for(*layers: str) -> tuple[Need, ...]:
    """Layers that are waited for if they are on, and not needed otherwise."""
    return tuple(Need(layer=layer, demanded_by="", reason="") for layer in layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenSecret:
    """A secret that an operator sets.

    Attributes:
        name: Its name in the stack's configuration (`lyceum:<name>`) and in the site's `secrets`.
        what: What it is.
        setting: The setting that needs it.
    """

    name: str
    what: str
    setting: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectHealth:
    """An object on the cluster whose status tells whether the layer works.

    Attributes:
        namespace: Namespace that `status` shows; empty for an object of the cluster.
        path: Path of the object in the API, as in `/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph`.
        field: Path of the field in it, as in `status.ceph.health`.
        healthy: Values of the field with which the layer is ready.
    """

    namespace: str
    path: str
    field: str
    healthy: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """A layer on Kubernetes.

    Attributes:
        name: Its name, and that of its component in the graph.
        component: The component's class as `package.module:Class`; its package is the group that the layer belongs to.
        summary: What it is for, in one sentence.
        switch: Setting that switches it on, or `ALWAYS`.
        needs: Layers that it waits for.
        releases: Helm releases, in the order of their installation.
        namespaces: Namespaces that it creates.
        apis: API groups that it brings.
        pages: Web pages that it serves.
        given_secrets: Secrets that an operator sets for it.
        derived_secrets: Purposes of the secrets that are derived from the seed for it.
        health: What `status` checks beside its releases and their workloads.
        stand_ins: Modules of `lab.controllers` that stand in for its operators, as in `gpu.sharing`.
    """

    name: str
    component: str
    summary: str
    switch: str
    needs: tuple[Need, ...]
    releases: tuple[ReleaseRecord, ...]
    namespaces: tuple[NamespaceRecord, ...]
    apis: tuple[ApiGroup, ...]
    pages: tuple[Page, ...]
    given_secrets: tuple[GivenSecret, ...]
    derived_secrets: tuple[str, ...]
    health: tuple[ObjectHealth, ...]
    stand_ins: tuple[str, ...]

    @property
    def group(self) -> str:
        """Name of the component that holds it: `platform` or `workspaces`."""
        return self.component.split(".")[1]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of all its secrets."""
        return (*(secret.name for secret in self.given_secrets), *self.derived_secrets)

    def is_on(self, site: Site) -> bool:
        """Whether a site has it."""
        return is_on(site, self.switch)

    def release(self, chart: str) -> ReleaseRecord:
        """The release of a chart.

        Raises:
            LookupError: the record does not name it.
        """
        for release in self.releases:
            if release.chart == chart:
                return release
        raise LookupError(f"layer {self.name} installs the chart `{chart}`, which its record does not name")

    def namespace(self, name: str) -> NamespaceRecord | None:
        """The namespace of this name, if the layer creates it."""
        return next((namespace for namespace in self.namespaces if namespace.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedLayer:
    """A layer whose settings are accepted, but that has no component yet; what it will claim is reserved already.

    Attributes:
        name: Its name.
        switch: Setting that will switch it on.
        namespaces: Namespaces that it will create.
        pages: Web pages that it will serve.
    """

    name: str
    switch: str
    namespaces: tuple[str, ...]
    pages: tuple[Page, ...]

    def is_on(self, site: Site) -> bool:
        """Whether a site asks for it."""
        return is_on(site, self.switch)
