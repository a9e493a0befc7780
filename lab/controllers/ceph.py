"""A Ceph cluster, as Rook and the Ceph CSI operator make one: daemons as Deployments, and the state of each resource."""

import itertools
from collections.abc import Iterator

from lab.controllers.changes import Change, condition, each, ensure, made
from lab.controllers.pods import available, workload
from lab.controllers.snapshot_cache import Object, World, labels, name, namespace, path

__all__ = ["decide"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CSI_IMAGE = "quay.io/cephcsi/cephcsi:v3.17.0"


def decide(world: World) -> Iterator[Change]:
    """Runs the daemons of each cluster and the drivers that are asked for, and reports when they are ready."""
    if world.workload("Deployment", "ceph-csi-controller-manager"):
        yield from each(world.all("Driver"), lambda driver: _driver(world, driver))
    if world.workload("Deployment", "rook-ceph-operator") is None:
        return
    yield from each(world.all("CephCluster"), lambda cluster: _cluster(world, cluster))


def _driver(world: World, driver: Object) -> Iterator[Change]:
    """The two halves of a CSI driver, and its registration."""
    called, within = name(driver), namespace(driver)
    for kind, half, replicas in (("Deployment", "ctrlplugin", 1), ("DaemonSet", "nodeplugin", None)):
        own = _plugin(world, driver, "controllerPlugin" if half == "ctrlplugin" else "nodePlugin")
        pod = {"tolerations": own["tolerations"]} if own.get("tolerations") else {}
        selector = {"app": f"{called}-{half}"}
        count = own.get("replicas", 1) if replicas else None
        yield from made(
            world, workload(kind, (within, f"{called}-{half}"), driver, CSI_IMAGE, selector, replicas=count, pod=pod)
        )
    registration = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": called}}
    yield from made(world, {**registration, "spec": {"attachRequired": ".nfs." not in called, "fsGroupPolicy": "File"}})


def _plugin(world: World, driver: Object, half: str) -> Object:
    """What a driver says about one half of it, over what the operator's configuration says about all."""
    found: Object = {}
    for configuration in world.all("OperatorConfig"):
        found |= path(configuration, "spec", "driverSpecDefaults", half, default={})
    found |= path(driver, "spec", half, default={})
    return found


def _cluster(world: World, cluster: Object) -> Iterator[Change]:
    hosts = _osd_hosts(world, cluster)
    daemons = [*_monitors(cluster), *_osds(world, cluster, hosts)]
    for daemon in daemons:
        yield from made(world, daemon)
    wanted = {name(item) for item in daemons}
    # An OSD whose host or disk is no longer listed stays, and stays a worry, until somebody purges it.
    wanted |= {name(item) for item in _existing_osds(world, cluster)}
    down = [item for item in sorted(wanted) if not available(world.get("Deployment", item, namespace(cluster)))]
    # A cluster that was made stays made: what fails later is a matter of its health.
    running = not down or path(cluster, "status", "phase") == "Ready"
    if running:
        phase, message, reason = "Ready", "Cluster created successfully", "ClusterCreated"
    else:
        phase, message, reason = "Progressing", f"Configuring Ceph: waiting for {down[0]}", "ClusterProgressing"
    status: Object = {
        "phase": phase,
        "state": "Created" if running else "Creating",
        "message": message,
        "observedGeneration": path(cluster, "metadata", "generation", default=0),
        "conditions": condition(cluster, world, "Ready", (running, reason, message)),
        "version": {"image": path(cluster, "spec", "cephVersion", "image", default="")},
        "storage": {"osd": {"storeType": {"bluestore": len(hosts)}}},
    }
    if running:
        details = _complaints(world, cluster, hosts) | _down(down)
        stale = {
            check: None for check in path(cluster, "status", "ceph", "details", default={}) if check not in details
        }
        status["ceph"] = {"health": "HEALTH_WARN" if details else "HEALTH_OK", "details": {**stale, **details} or None}
    yield from ensure(cluster, {"status": status}, "status")
    for kind in ("CephBlockPool", "CephFilesystemSubVolumeGroup"):
        for item in world.all(kind):
            if namespace(item) == namespace(cluster):
                yield from ensure(item, {"status": {"phase": phase}}, "status")
    yield from _services(world, cluster, running=running)


def _services(world: World, cluster: Object, *, running: bool) -> Iterator[Change]:
    """Metadata servers of file systems and gateways of object stores, once the cluster runs."""
    within = namespace(cluster)
    for kind, daemon, resources, count in (
        ("CephFilesystem", "mds", ("metadataServer", "resources"), ("metadataServer", "activeCount")),
        ("CephObjectStore", "rgw", ("gateway", "resources"), ("gateway", "instances")),
    ):
        for item in world.all(kind):
            if namespace(item) != within:
                continue
            instances = int(path(item, "spec", *count, default=1))
            if path(item, "spec", "metadataServer", "activeStandby", default=False):
                instances *= 2
            # Each metadata server is a Deployment of its own; the gateways of a store share one.
            letters, replicas = (LETTERS[:instances], 1) if daemon == "mds" else ("a", instances)
            wanted = [
                _daemon(
                    cluster, daemon, f"{name(item)}-{letter}", cause=item, replicas=replicas,
                    resources=path(item, "spec", *resources), placement=path(item, "spec", count[0], "placement", default={}),
                )
                for letter in letters
            ]  # fmt: skip
            for deployment in wanted if running else ():
                yield from made(world, deployment)
            done = running and all(available(world.get("Deployment", name(part), within)) for part in wanted)
            status: Object = {"phase": "Ready" if done else "Progressing"}
            if daemon == "rgw":
                port = path(item, "spec", "gateway", "port", default=80)
                status["info"] = {"endpoint": f"http://rook-ceph-rgw-{name(item)}.{within}.svc:{port}"}
            yield from ensure(item, {"status": status}, "status")


def _monitors(cluster: Object) -> Iterator[Object]:
    for daemon, default in (("mon", 3), ("mgr", 2)):
        for letter in LETTERS[: path(cluster, "spec", daemon, "count", default=default)]:
            spread = not path(cluster, "spec", daemon, "allowMultiplePerNode", default=False)
            yield _daemon(cluster, daemon, letter, spread=spread)


def _existing_osds(world: World, cluster: Object) -> list[Object]:
    found = [item for item in world.all("Deployment") if labels(item).get("app") == "rook-ceph-osd"]
    return [item for item in found if namespace(item) == namespace(cluster)]


def _osds(world: World, cluster: Object, hosts: list[str]) -> Iterator[Object]:
    """One OSD a disk. Each keeps the number it was born with, whatever hosts come and go."""
    numbers: dict[str, list[str]] = {}
    for item in _existing_osds(world, cluster):
        host = path(item, "spec", "template", "spec", "nodeSelector", "kubernetes.io/hostname", default="")
        numbers.setdefault(host, []).append(labels(item)["ceph-osd-instance"])
    used = {number for given in numbers.values() for number in given}
    free = (str(number) for number in itertools.count() if str(number) not in used)
    for host in hosts:
        number = numbers[host].pop(0) if numbers.get(host) else next(free)
        yield _daemon(cluster, "osd", number, selector={"kubernetes.io/hostname": host})


def _daemon(
    cluster: Object,
    daemon: str,
    instance: str,
    *,
    cause: Object | None = None,
    replicas: int = 1,
    spread: bool = False,
    selector: dict[str, str] | None = None,
    resources: Object | None = None,
    placement: Object | None = None,
) -> Object:
    placed = {
        **path(cluster, "spec", "placement", "all", default={}),
        **path(cluster, "spec", "placement", daemon, default={}),
    }
    placed |= placement or {}
    marks = {"app": f"rook-ceph-{daemon}", f"ceph-{daemon}-instance": instance}
    pod: Object = {}
    if placed.get("tolerations"):
        pod["tolerations"] = placed["tolerations"]
    affinity = {part: placed[part] for part in ("nodeAffinity", "podAffinity", "podAntiAffinity") if part in placed}
    if spread:
        term = {"labelSelector": {"matchLabels": {"app": marks["app"]}}, "topologyKey": "kubernetes.io/hostname"}
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    if affinity:
        pod["affinity"] = affinity
    if selector:
        pod["nodeSelector"] = selector
    image = path(cluster, "spec", "cephVersion", "image", default="quay.io/ceph/ceph")
    own = resources or path(cluster, "spec", "resources", daemon)
    at = (namespace(cluster), f"rook-ceph-{daemon}-{instance}")
    return workload("Deployment", at, cause or cluster, image, marks, replicas=replicas, resources=own, pod=pod)


def _osd_hosts(world: World, cluster: Object) -> list[str]:
    """Host name of each OSD: one a listed device; one a node that takes any pod where every device may be used."""
    storage = path(cluster, "spec", "storage", default={})
    known = {labels(node).get("kubernetes.io/hostname", name(node)): node for node in world.all("Node")}
    if storage.get("useAllNodes"):
        free = [host for host, node in known.items() if not _tainted(node)]
        return free if storage.get("useAllDevices") or storage.get("deviceFilter") else []
    everywhere = 1 if storage.get("useAllDevices") else len(storage.get("devices") or [])
    listed = [(node["name"], len(node.get("devices") or []) or everywhere) for node in storage.get("nodes") or []]
    return [host for host, count in listed if host in known for _ in range(count)]


def _tainted(node: Object) -> bool:
    return any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in path(node, "spec", "taints", default=[]))


def _complaints(world: World, cluster: Object, hosts: list[str]) -> Object:
    """Ceph's health checks that follow from the number of OSDs and hosts."""
    pools = [item for item in world.all("CephBlockPool") if namespace(item) == namespace(cluster)]
    size = max((int(path(pool, "spec", "replicated", "size", default=3)) for pool in pools), default=0)
    if not hosts:
        return {"TOO_FEW_OSDS": {"message": "OSD count 0 < osd_pool_default_size 3", "severity": "HEALTH_WARN"}}
    if size > len(set(hosts)):
        message = f"Degraded data redundancy: a pool wants {size} copies on different hosts, and {len(set(hosts))} hosts have OSDs"
        return {"PG_DEGRADED": {"message": message, "severity": "HEALTH_WARN"}}
    return {}


def _down(daemons: list[str]) -> Object:
    """Ceph's health checks about daemons that do not run."""
    found: Object = {}
    for check, part in (("MON_DOWN", "mon"), ("MGR_DOWN", "mgr"), ("OSD_DOWN", "osd")):
        names = [daemon for daemon in daemons if daemon.startswith(f"rook-ceph-{part}-")]
        if names:
            found[check] = {"message": f"{len(names)} {part}s down: {', '.join(names)}", "severity": "HEALTH_WARN"}
    return found
