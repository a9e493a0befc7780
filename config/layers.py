"""Every layer on Kubernetes, in an order that their needs give. Pure. How to add one: docs/developers/add-a-layer.md."""

from collections.abc import Iterator

from config.layer_record import (
    ALWAYS,
    ApiGroup,
    GivenSecret,
    LayerRecord,
    NamespaceRecord,
    Need,
    Page,
    PlannedLayer,
    PodSecurity,
    ReleaseRecord,
    waits_for,
)
from config.planned import find_planned
from config.site import Site

KUBERNETES_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
"""Namespaces that every cluster has."""

LAYERS: tuple[LayerRecord, ...] = (
    LayerRecord(
        name="monitoring-types",
        component="components.platform.monitoring:MonitoringTypes",
        summary="The kinds of the Prometheus operator, before every chart that brings a ServiceMonitor.",
        switch="platform.monitoring",
        needs=(),
        releases=(
            ReleaseRecord(
                chart="prometheus-operator-crds",
                namespace="monitoring",
                switch=ALWAYS,
                mirror_only=False,
                queues_pods=False,
            ),
        ),
        # node-exporter reads the host.
        namespaces=(NamespaceRecord(name="monitoring", level=PodSecurity.PRIVILEGED),),
        apis=(
            ApiGroup(
                group="monitoring.coreos.com", definitions="prometheus-operator-crds", operator="kube-prometheus-stack"
            ),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="training",
        component="components.platform.training:Training",
        summary="Kubeflow Trainer with JobSet: training on one or many nodes.",
        switch="workspaces.kubeflow.trainer",
        needs=(),
        releases=(
            ReleaseRecord(
                chart="kubeflow-trainer",
                namespace="kubeflow-system",
                switch=ALWAYS,
                mirror_only=False,
                queues_pods=False,
            ),
        ),
        namespaces=(NamespaceRecord(name="kubeflow-system", level=PodSecurity.RESTRICTED),),
        apis=(
            ApiGroup(group="trainer.kubeflow.org", definitions="kubeflow-trainer", operator="kubeflow-trainer"),
            ApiGroup(group="jobset.x-k8s.io", definitions="kubeflow-trainer", operator="kubeflow-trainer"),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="queues",
        component="components.platform.queues:Queues",
        summary="Kueue: who gets which GPU when.",
        switch="platform.queues",
        # Kueue looks for the kinds of Trainer once, at its start. Those that come while it runs may find it halfway: it
        # then never admits a TrainJob (its log: `Failed to setup controller for job framework`).
        needs=waits_for("monitoring-types", "training"),
        releases=(
            ReleaseRecord(chart="kueue", namespace="kueue-system", switch=ALWAYS, mirror_only=False, queues_pods=False),
        ),
        namespaces=(
            NamespaceRecord(name="kueue-system", level=PodSecurity.RESTRICTED),
            # People's jobs, from images that run as root.
            NamespaceRecord(name="batch", level=PodSecurity.BASELINE),
        ),
        apis=(ApiGroup(group="kueue.x-k8s.io", definitions="kueue", operator="kueue"),),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="storage",
        component="components.platform.storage:Storage",
        summary="Volumes: Rook-Ceph on the site's own disks, and the NFS export of the campus.",
        switch=ALWAYS,
        needs=waits_for("monitoring-types"),
        releases=(
            *(
                ReleaseRecord(
                    chart=chart,
                    namespace="rook-ceph",
                    switch="platform.storage.ceph",
                    mirror_only=False,
                    queues_pods=False,
                )
                for chart in ("rook-ceph", "ceph-csi-drivers", "rook-ceph-cluster")
            ),
            ReleaseRecord(
                chart="csi-driver-nfs",
                namespace="nfs-csi",
                switch="platform.storage.nfs",
                mirror_only=False,
                queues_pods=False,
            ),
        ),
        namespaces=(
            NamespaceRecord(name="rook-ceph", level=PodSecurity.PRIVILEGED),
            NamespaceRecord(name="nfs-csi", level=PodSecurity.PRIVILEGED),
        ),
        apis=(
            ApiGroup(group="ceph.rook.io", definitions="rook-ceph", operator="rook-ceph"),
            ApiGroup(group="objectbucket.io", definitions="rook-ceph", operator="rook-ceph"),
            ApiGroup(group="csi.ceph.io", definitions="rook-ceph", operator="rook-ceph"),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=("ceph", "volumes"),
    ),
    LayerRecord(
        name="gpus",
        component="components.platform.gpus:Gpus",
        summary="The GPU Operator: drivers, device plugin, MIG and sharing.",
        switch="platform.gpu-operator",
        needs=waits_for("monitoring-types"),
        releases=(
            ReleaseRecord(
                chart="gpu-operator", namespace="gpu-operator", switch=ALWAYS, mirror_only=False, queues_pods=False
            ),
        ),
        namespaces=(NamespaceRecord(name="gpu-operator", level=PodSecurity.PRIVILEGED),),
        apis=(
            ApiGroup(group="nvidia.com", definitions="gpu-operator", operator="gpu-operator"),
            ApiGroup(group="nfd.k8s-sigs.io", definitions="gpu-operator", operator="gpu-operator"),
            ApiGroup(group="resource.nvidia.com", definitions="gpu-operator", operator="gpu-operator"),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=("gpu.features", "gpu.operator", "gpu.drivers", "gpu.sharing"),
    ),
    LayerRecord(
        name="load-balancers",
        component="components.platform.load_balancers:LoadBalancers",
        summary="MetalLB: addresses of the campus network for Services.",
        switch="platform.metallb",
        needs=(),
        releases=(
            ReleaseRecord(
                chart="metallb", namespace="metallb-system", switch=ALWAYS, mirror_only=False, queues_pods=False
            ),
        ),
        namespaces=(NamespaceRecord(name="metallb-system", level=PodSecurity.PRIVILEGED),),
        apis=(ApiGroup(group="metallb.io", definitions="metallb", operator="metallb"),),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=("loadbalancer",),
    ),
    LayerRecord(
        name="certificates",
        component="components.platform.certificates:Certificates",
        summary="cert-manager, and the ClusterIssuer that signs for every page.",
        switch="platform.certificates",
        needs=waits_for("monitoring-types"),
        releases=(
            ReleaseRecord(
                chart="cert-manager", namespace="cert-manager", switch=ALWAYS, mirror_only=False, queues_pods=False
            ),
        ),
        namespaces=(NamespaceRecord(name="cert-manager", level=PodSecurity.RESTRICTED),),
        apis=(
            ApiGroup(group="cert-manager.io", definitions="cert-manager", operator="cert-manager"),
            ApiGroup(group="acme.cert-manager.io", definitions="cert-manager", operator="cert-manager"),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=("certificates",),
    ),
    LayerRecord(
        name="ingress",
        component="components.platform.ingress:Ingress",
        summary="ingress-nginx on every worker: one address for all pages.",
        switch="platform.ingress",
        needs=(
            *waits_for("monitoring-types"),
            Need(layer="load-balancers", demanded_by="platform.ingress", reason="gets its address from MetalLB"),
            Need(layer="certificates", demanded_by="platform.ingress", reason="gets its TLS from cert-manager"),
        ),
        releases=(
            ReleaseRecord(
                chart="ingress-nginx", namespace="ingress-nginx", switch=ALWAYS, mirror_only=False, queues_pods=False
            ),
        ),
        namespaces=(NamespaceRecord(name="ingress-nginx", level=PodSecurity.BASELINE),),
        apis=(),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="monitoring",
        component="components.platform.monitoring:Monitoring",
        summary="Prometheus, Alertmanager and Grafana: metrics, alerts and dashboards.",
        switch="platform.monitoring",
        needs=waits_for("monitoring-types", "load-balancers", "certificates", "ingress", "storage"),
        releases=(
            ReleaseRecord(
                chart="kube-prometheus-stack",
                namespace="monitoring",
                switch=ALWAYS,
                mirror_only=False,
                queues_pods=False,
            ),
        ),
        namespaces=(),
        apis=(),
        # Metrics are kept and alarms sent without it.
        pages=(Page(label="grafana", setting="", required=False),),
        given_secrets=(),
        derived_secrets=("grafana-admin",),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="backup",
        component="components.platform.snapshot_bucket:Backup",
        summary="The bucket and its keys, for K3s to upload etcd's snapshots.",
        switch="platform.backup.s3",
        needs=(),
        releases=(),
        namespaces=(),
        apis=(),
        pages=(),
        given_secrets=(
            GivenSecret(name="s3-access-key", what="access key of the bucket", setting="platform.backup.s3"),
            GivenSecret(name="s3-secret-key", what="secret key of the bucket", setting="platform.backup.s3"),
        ),
        derived_secrets=(),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="jupyterhub",
        component="components.workspaces.jupyterhub:JupyterHub",
        summary="JupyterHub, with profiles that follow from the GPUs.",
        switch="workspaces.jupyterhub",
        needs=waits_for("monitoring-types", "load-balancers", "certificates", "ingress", "storage", "gpus", "queues"),
        releases=(
            ReleaseRecord(
                # Notebooks start there, and take their place in the queue like other work.
                chart="jupyterhub",
                namespace="jupyterhub",
                switch=ALWAYS,
                mirror_only=False,
                queues_pods=True,
            ),
        ),
        # People's code runs there.
        namespaces=(NamespaceRecord(name="jupyterhub", level=PodSecurity.RESTRICTED),),
        apis=(),
        pages=(
            Page(label="", setting="workspaces.jupyterhub.host", required=True),
            Page(label="", setting="workspaces.jupyterhub.test-host", required=False),
        ),
        given_secrets=(
            GivenSecret(
                name="oidc-client-secret",
                what="secret of the client at the identity provider",
                setting="identity.oidc",
            ),
        ),
        derived_secrets=("hub-password",),
        health=(),
        stand_ins=(),
    ),
    LayerRecord(
        name="kubeflow",
        component="components.workspaces.kubeflow:Kubeflow",
        summary="The parts of Kubeflow that install independently: KServe, Pipelines.",
        switch=ALWAYS,
        needs=(
            *waits_for("load-balancers", "ingress", "storage", "gpus", "queues"),
            Need(
                layer="certificates",
                demanded_by="workspaces.kubeflow.kserve",
                reason="needs cert-manager for its webhooks",
            ),
        ),
        releases=(
            *(
                ReleaseRecord(
                    chart=chart,
                    namespace="kserve",
                    switch="workspaces.kubeflow.kserve",
                    mirror_only=False,
                    queues_pods=False,
                )
                for chart in ("kserve-crd", "kserve-resources", "kserve-runtime-configs")
            ),
            ReleaseRecord(
                chart="kubeflow-pipelines",
                namespace="kubeflow",
                switch="workspaces.kubeflow.pipelines",
                mirror_only=True,
                queues_pods=False,
            ),
        ),
        namespaces=(
            NamespaceRecord(name="kserve", level=PodSecurity.BASELINE),
            # People's models: pods of KServe's runtimes do not meet `restricted`.
            NamespaceRecord(name="inference", level=PodSecurity.BASELINE),
            NamespaceRecord(name="kubeflow", level=PodSecurity.BASELINE),
        ),
        apis=(
            ApiGroup(group="serving.kserve.io", definitions="kserve-crd", operator="kserve-resources"),
            ApiGroup(group="kubeflow.org", definitions="kubeflow-pipelines", operator="kubeflow-pipelines"),
            ApiGroup(group="app.k8s.io", definitions="kubeflow-pipelines", operator="kubeflow-pipelines"),
            ApiGroup(group="argoproj.io", definitions="kubeflow-pipelines", operator="kubeflow-pipelines"),
        ),
        pages=(),
        given_secrets=(),
        derived_secrets=(),
        health=(),
        stand_ins=("webhooks",),
    ),
)
"""Each layer comes after those that it needs."""

PLANNED_LAYERS: tuple[PlannedLayer, ...] = (
    PlannedLayer(
        name="triton",
        switch="workspaces.triton",
        namespaces=("triton",),
        pages=(Page(label="", setting="workspaces.triton.host", required=True),),
    ),
    PlannedLayer(
        name="rancher",
        switch="platform.rancher",
        namespaces=("cattle-system", "fleet-system"),
        pages=(Page(label="", setting="platform.rancher.host", required=True),),
    ),
    PlannedLayer(
        name="registry",
        switch="platform.registry",
        namespaces=("registry",),
        pages=(Page(label="", setting="platform.registry.host", required=True),),
    ),
    PlannedLayer(
        name="authentik",
        switch="identity.authentik",
        namespaces=("authentik",),
        pages=(Page(label="", setting="identity.authentik.host", required=True),),
    ),
    PlannedLayer(
        name="network-operator", switch="platform.high-throughput", namespaces=("network-operator",), pages=()
    ),
    PlannedLayer(name="logging", switch="platform.logging", namespaces=("logging",), pages=()),
    PlannedLayer(name="velero", switch="platform.backup.velero", namespaces=("velero",), pages=()),
    PlannedLayer(name="opencost", switch="platform.costs", namespaces=("opencost",), pages=()),
    PlannedLayer(name="tunnel", switch="platform.tunnel", namespaces=(), pages=()),
    PlannedLayer(name="power", switch="platform.power", namespaces=(), pages=()),
)
"""One that is built moves to `LAYERS`."""


def record_of(name: str) -> LayerRecord:
    """The record of a layer.

    Raises:
        LookupError: there is no layer of this name.
    """
    for record in LAYERS:
        if record.name == name:
            return record
    raise LookupError(f"there is no layer `{name}`")


def installed_releases(site: Site) -> Iterator[tuple[LayerRecord, ReleaseRecord]]:
    """Every Helm release of a site, with its layer."""
    for record in LAYERS:
        if record.is_on(site):
            yield from ((record, release) for release in record.releases if release.is_on(site))


def is_installed(site: Site, part: str) -> bool:
    """Whether a site has a chart, or asks for a planned layer of this name."""
    charts = {release.chart for _, release in installed_releases(site)}
    return part in charts or any(layer.name == part and layer.is_on(site) for layer in PLANNED_LAYERS)


def requested_layers(site: Site) -> tuple[LayerRecord | PlannedLayer, ...]:
    """Layers that a site switches on, planned ones last."""
    every: tuple[LayerRecord | PlannedLayer, ...] = (*LAYERS, *PLANNED_LAYERS)
    return tuple(layer for layer in every if layer.is_on(site))


def page_hosts(site: Site) -> Iterator[tuple[LayerRecord | PlannedLayer, Page, str]]:
    """Layer, page and host label of every page that a site has or asks for."""
    for layer in requested_layers(site):
        yield from ((layer, page, label) for page in layer.pages if (label := page.host_label(site)))


def page_host(site: Site, layer: str) -> str:
    """Host name of a layer's first page, as in `jupyter.campus.example`."""
    return f"{record_of(layer).pages[0].host_label(site)}.{site.domain}"


def page_urls(site: Site, layer: LayerRecord) -> list[str]:
    """Addresses of a layer's pages; none without an ingress, and none of a host name that nothing reads yet."""
    labels = [
        label
        for page in layer.pages
        if (label := page.host_label(site)) and find_planned(tuple(page.setting.split("."))) is None
    ]
    return [f"https://{label}.{site.domain}" for label in labels if record_of("ingress").is_on(site)]


def reserved_namespaces() -> frozenset[str]:
    """Namespaces of Kubernetes and of every layer, which no tenant may have."""
    built = (namespace.name for record in LAYERS for namespace in record.namespaces)
    planned = (namespace for layer in PLANNED_LAYERS for namespace in layer.namespaces)
    return frozenset({*KUBERNETES_NAMESPACES, *built, *planned})


def unqueued_namespaces() -> tuple[str, ...]:
    """Namespaces whose pods never wait in a queue, each once."""
    releases = (release for record in LAYERS for release in record.releases if not release.queues_pods)
    return tuple(dict.fromkeys(["kube-system", *(release.namespace for release in releases)]))
