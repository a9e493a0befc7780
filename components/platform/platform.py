"""The layers of the platform, in the order that their needs give (R30)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pulumi

from components.base import Component
from components.layer import LayerArgs
from components.platform.certificates import Certificates
from components.platform.gpus import Gpus
from components.platform.ingress import Ingress
from components.platform.load_balancers import LoadBalancers
from components.platform.monitoring import Monitoring, MonitoringTypes
from components.platform.queues import Queues
from components.platform.snapshot_bucket import Backup, BackupArgs
from components.platform.storage import Storage
from config.hosts import Node
from config.site import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformArgs:
    """What the platform is made from.

    Attributes:
        site: The campus.
        nodes: Machines in service.
        grafana_password: Password of Grafana's administrator, secret.
        given: Secrets that the site's layers need, by name.
    """

    site: Site
    nodes: tuple[Node, ...]
    grafana_password: pulumi.Input[str]
    given: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


class Platform(Component):
    """Addresses, certificates, the way in, volumes, GPUs, queues, metrics; each as the site switches it.

    Creates: one component a layer. Layers wait for what they need and for nothing else, so they come up side by side.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Platform"  # noqa: S105 - a type token
    ready: tuple[pulumi.Resource, ...]
    """What a workspace needs: volumes, GPUs, the way in."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        wanted = args.site.platform
        under = pulumi.ResourceOptions(parent=self)

        def layer(*after: pulumi.Resource) -> LayerArgs:
            return LayerArgs(site=args.site, nodes=args.nodes, after=after)

        types = MonitoringTypes("monitoring-types", layer(), under) if wanted.monitoring.enabled else None
        watched = (types.ready,) if types else ()
        served: tuple[pulumi.Resource, ...] = ()
        if wanted.metallb.enabled:
            served += (LoadBalancers("load-balancers", layer(), under).pool,)
        if wanted.certificates.enabled:
            served += (Certificates("certificates", layer(*watched), under).issuer,)
        if wanted.ingress.enabled:
            served += (Ingress("ingress", layer(*watched, *served), under).ready,)
        stored = Storage("storage", layer(*watched), under).ready
        computing: tuple[pulumi.Resource, ...] = ()
        if wanted.gpu_operator.enabled:
            computing = Gpus("gpus", layer(*watched), under).ready
        if wanted.queues.enabled:
            computing += (Queues("queues", layer(*watched), under).ready,)
        if types:
            before = layer(*watched, *served, *stored)
            Monitoring("monitoring", before, types.namespace_resource, args.grafana_password, under)
        if wanted.backup.s3:
            access_key, secret_key = args.given["s3-access-key"], args.given["s3-secret-key"]
            bucket = BackupArgs(
                site=args.site.name, store=wanted.backup.s3, access_key=access_key, secret_key=secret_key
            )
            Backup("backup", bucket, under)
        self.ready = (*served, *stored, *computing)
        self.register_outputs({})
