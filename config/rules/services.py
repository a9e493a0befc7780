"""Layers that need something else in the site."""

from collections.abc import Iterator

from config.finding import Finding, suggest_name
from config.hosts import DeviceKind, PowerControl
from config.rules.names import page_labels
from config.site import Site


def check_service_dependencies(site: Site) -> Iterator[Finding]:
    """Backups have a bucket, alerts have monitoring, Fleet has Rancher, RDMA has cards, the tunnel has pages."""
    platform = site.platform
    if platform.backup.velero.enabled and platform.backup.s3 is None:
        yield Finding(
            ("platform", "backup", "velero"), "has no bucket for its backups", "add `platform.backup.s3`", value=None
        )
    notifications = platform.monitoring.notifications
    if (notifications.slack or notifications.mail) and not platform.monitoring.enabled:
        remedy = "set `enabled: true` on platform.monitoring"
        yield Finding(
            ("platform", "monitoring", "notifications"), "need platform.monitoring, which is off", remedy, value=None
        )
    if platform.rancher.fleet and not platform.rancher.enabled:
        remedy = "set `enabled: true` on platform.rancher"
        yield Finding(("platform", "rancher", "fleet"), "needs platform.rancher, which is off", remedy, value=None)
    fast = {DeviceKind.INFINIBAND, DeviceKind.ROCE}
    if platform.high_throughput.enabled and not any(
        device.kind in fast for node in site.machines for device in node.devices
    ):
        remedy = "list them in `devices` of a host, or disable it"
        yield Finding(("platform", "high-throughput"), "needs InfiniBand or RoCE cards in a worker", remedy, value=None)
    if platform.tunnel.enabled:
        labels = [label for _, label in page_labels(site)]
        for index, host in enumerate(platform.tunnel.hosts):
            if host not in labels:
                path = ("platform", "tunnel", "hosts", index)
                yield Finding(path, "is not one of the pages", suggest_name(host, labels), value=host)


def check_power_control(site: Site) -> Iterator[Finding]:
    """A host that is switched on remotely has the address for it."""
    for index, host in enumerate(site.hosts):
        if host.power is PowerControl.WAKE_ON_LAN and host.mac is None:
            remedy = "add the MAC address of its network card"
            yield Finding(("hosts", index, "mac"), "is missing, but `power: wake-on-lan` needs it", remedy, value=None)
        if host.power is PowerControl.IPMI and host.bmc is None:
            remedy = "add the address of its management controller"
            yield Finding(("hosts", index, "bmc"), "is missing, but `power: ipmi` needs it", remedy, value=None)
    if site.platform.power.enabled and all(host.power is PowerControl.NONE for host in site.hosts):
        remedy = "set `power: wake-on-lan` or `power: ipmi` on a host"
        yield Finding(("platform", "power"), "has no host that can be switched on remotely", remedy, value=None)
