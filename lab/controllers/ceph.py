"""A Ceph cluster, as Rook and the Ceph CSI operator create one: daemons as Deployments, and the state of each resource."""

import itertools
from collections.abc import Iterator

from lab.controllers.changes import Change, decide_each, ensure_fields, ensure_object, set_condition
from lab.controllers.pods import build_workload, is_available
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, labels, name, namespace

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CSI_IMAGE = "quay.io/cephcsi/cephcsi:v3.17.0"


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Runs the daemons of each cluster and the drivers that are asked for, and reports when they are ready."""
    if cache.workload("Deployment", "ceph-csi-controller-manager"):
        yield from decide_each(cache.all("Driver"), lambda driver: _deploy_driver(cache, driver))
    if cache.workload("Deployment", "rook-ceph-operator") is None:
        return
    yield from decide_each(cache.all("CephCluster"), lambda cluster: _run_cluster(cache, cluster))


def _deploy_driver(cache: ClusterCache, driver: Object) -> Iterator[Change]:
    """The two halves of a CSI driver, and its registration."""
    called, within = name(driver), namespace(driver)
    for kind, half, replicas in (("Deployment", "ctrlplugin", 1), ("DaemonSet", "nodeplugin", None)):
        own = _plugin_settings(cache, driver, "controllerPlugin" if half == "ctrlplugin" else "nodePlugin")
        pod = {"tolerations": own["tolerations"]} if own.get("tolerations") else {}
        selector = {"app": f"{called}-{half}"}
        count = own.get("replicas", 1) if replicas else None
        yield from ensure_object(
            cache,
            build_workload(kind, (within, f"{called}-{half}"), driver, CSI_IMAGE, selector, replicas=count, pod=pod),
        )
    registration = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": called}}
    yield from ensure_object(
        cache, {**registration, "spec": {"attachRequired": ".nfs." not in called, "fsGroupPolicy": "File"}}
    )


def _plugin_settings(cache: ClusterCache, driver: Object, half: str) -> Object:
    """What a driver says about one half of it, over what the operator's configuration says about all."""
    found: Object = {}
    for configuration in cache.all("OperatorConfig"):
        found |= get_path(configuration, "spec", "driverSpecDefaults", half, default={})
    found |= get_path(driver, "spec", half, default={})
    return found


def _run_cluster(cache: ClusterCache, cluster: Object) -> Iterator[Change]:
    hosts = _osd_hosts(cache, cluster)
    daemons = [*_build_monitors(cluster), *_build_osds(cache, cluster, hosts)]
    for daemon in daemons:
        yield from ensure_object(cache, daemon)
    wanted = {name(item) for item in daemons}
    # An OSD whose host or disk is no longer listed stays, and keeps its health check, until an operator purges it.
    wanted |= {name(item) for item in _existing_osds(cache, cluster)}
    down = [item for item in sorted(wanted) if not is_available(cache.get("Deployment", item, namespace(cluster)))]
    # A created cluster stays created: what fails later shows in its health.
    running = not down or get_path(cluster, "status", "phase") == "Ready"
    if running:
        phase, message, reason = "Ready", "Cluster created successfully", "ClusterCreated"
    else:
        phase, message, reason = "Progressing", f"Configuring Ceph: waiting for {down[0]}", "ClusterProgressing"
    status: Object = {
        "phase": phase,
        "state": "Created" if running else "Creating",
        "message": message,
        "observedGeneration": get_path(cluster, "metadata", "generation", default=0),
        "conditions": set_condition(cluster, cache, "Ready", (running, reason, message)),
        "version": {"image": get_path(cluster, "spec", "cephVersion", "image", default="")},
        "storage": {"osd": {"storeType": {"bluestore": len(hosts)}}},
    }
    if running:
        details = _redundancy_checks(cache, cluster, hosts) | _daemon_checks(down)
        stale = {
            check: None for check in get_path(cluster, "status", "ceph", "details", default={}) if check not in details
        }
        status["ceph"] = {"health": "HEALTH_WARN" if details else "HEALTH_OK", "details": {**stale, **details} or None}
    yield from ensure_fields(cluster, {"status": status}, "status")
    for kind in ("CephBlockPool", "CephFilesystemSubVolumeGroup"):
        for item in cache.all(kind):
            if namespace(item) == namespace(cluster):
                yield from ensure_fields(item, {"status": {"phase": phase}}, "status")
    yield from _run_services(cache, cluster, running=running)


def _run_services(cache: ClusterCache, cluster: Object, *, running: bool) -> Iterator[Change]:
    """Metadata servers of file systems and gateways of object stores, once the cluster runs."""
    within = namespace(cluster)
    for kind, daemon, resources, count in (
        ("CephFilesystem", "mds", ("metadataServer", "resources"), ("metadataServer", "activeCount")),
        ("CephObjectStore", "rgw", ("gateway", "resources"), ("gateway", "instances")),
    ):
        for item in cache.all(kind):
            if namespace(item) != within:
                continue
            instances = int(get_path(item, "spec", *count, default=1))
            if get_path(item, "spec", "metadataServer", "activeStandby", default=False):
                instances *= 2
            # Each metadata server is a Deployment of its own; the gateways of a store share one.
            letters, replicas = (LETTERS[:instances], 1) if daemon == "mds" else ("a", instances)
            wanted = [
                _build_daemon(
                    cluster, daemon, f"{name(item)}-{letter}", cause=item, replicas=replicas,
                    resources=get_path(item, "spec", *resources), placement=get_path(item, "spec", count[0], "placement", default={}),
                )
                for letter in letters
            ]  # fmt: skip
            for deployment in wanted if running else ():
                yield from ensure_object(cache, deployment)
            done = running and all(is_available(cache.get("Deployment", name(part), within)) for part in wanted)
            status: Object = {"phase": "Ready" if done else "Progressing"}
            if daemon == "rgw":
                port = get_path(item, "spec", "gateway", "port", default=80)
                status["info"] = {"endpoint": f"http://rook-ceph-rgw-{name(item)}.{within}.svc:{port}"}
            yield from ensure_fields(item, {"status": status}, "status")


def _build_monitors(cluster: Object) -> Iterator[Object]:
    for daemon, default in (("mon", 3), ("mgr", 2)):
        for letter in LETTERS[: get_path(cluster, "spec", daemon, "count", default=default)]:
            spread = not get_path(cluster, "spec", daemon, "allowMultiplePerNode", default=False)
            yield _build_daemon(cluster, daemon, letter, spread=spread)


def _existing_osds(cache: ClusterCache, cluster: Object) -> list[Object]:
    found = [item for item in cache.all("Deployment") if labels(item).get("app") == "rook-ceph-osd"]
    return [item for item in found if namespace(item) == namespace(cluster)]


def _build_osds(cache: ClusterCache, cluster: Object, hosts: list[str]) -> Iterator[Object]:
    """One OSD a disk. Each keeps the number it was born with, whatever hosts come and go."""
    numbers: dict[str, list[str]] = {}
    for item in _existing_osds(cache, cluster):
        host = get_path(item, "spec", "template", "spec", "nodeSelector", "kubernetes.io/hostname", default="")
        numbers.setdefault(host, []).append(labels(item)["ceph-osd-instance"])
    used = {number for given in numbers.values() for number in given}
    free = (str(number) for number in itertools.count() if str(number) not in used)
    for host in hosts:
        number = numbers[host].pop(0) if numbers.get(host) else next(free)
        yield _build_daemon(cluster, "osd", number, selector={"kubernetes.io/hostname": host})


def _build_daemon(
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
        **get_path(cluster, "spec", "placement", "all", default={}),
        **get_path(cluster, "spec", "placement", daemon, default={}),
    }
    placed |= placement or {}
    marks = {"app": f"rook-ceph-{daemon}", f"ceph-{daemon}-instance": instance}
    pod: Object = {}
    pod |= {part: placed[part] for part in ("tolerations", "topologySpreadConstraints") if placed.get(part)}
    affinity = {part: placed[part] for part in ("nodeAffinity", "podAffinity", "podAntiAffinity") if part in placed}
    if spread:
        term = {"labelSelector": {"matchLabels": {"app": marks["app"]}}, "topologyKey": "kubernetes.io/hostname"}
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    if affinity:
        pod["affinity"] = affinity
    if selector:
        pod["nodeSelector"] = selector
    image = get_path(cluster, "spec", "cephVersion", "image", default="quay.io/ceph/ceph")
    own = resources or get_path(cluster, "spec", "resources", daemon)
    at = (namespace(cluster), f"rook-ceph-{daemon}-{instance}")
    return build_workload("Deployment", at, cause or cluster, image, marks, replicas=replicas, resources=own, pod=pod)


def _osd_hosts(cache: ClusterCache, cluster: Object) -> list[str]:
    """Host name of each OSD: one a listed device; one a node that takes any pod where every device may be used."""
    storage = get_path(cluster, "spec", "storage", default={})
    known = {labels(node).get("kubernetes.io/hostname", name(node)): node for node in cache.all("Node")}
    if storage.get("useAllNodes"):
        free = [host for host, node in known.items() if not _is_tainted(node)]
        return free if storage.get("useAllDevices") or storage.get("deviceFilter") else []
    everywhere = 1 if storage.get("useAllDevices") else len(storage.get("devices") or [])
    listed = [(node["name"], len(node.get("devices") or []) or everywhere) for node in storage.get("nodes") or []]
    return [host for host, count in listed if host in known for _ in range(count)]


def _is_tainted(node: Object) -> bool:
    return any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in get_path(node, "spec", "taints", default=[]))


def _redundancy_checks(cache: ClusterCache, cluster: Object, hosts: list[str]) -> Object:
    """Ceph's health checks that follow from the number of OSDs and hosts."""
    pools = [item for item in cache.all("CephBlockPool") if namespace(item) == namespace(cluster)]
    size = max((int(get_path(pool, "spec", "replicated", "size", default=3)) for pool in pools), default=0)
    if not hosts:
        return {"TOO_FEW_OSDS": {"message": "OSD count 0 < osd_pool_default_size 3", "severity": "HEALTH_WARN"}}
    if size > len(set(hosts)):
        message = f"Degraded data redundancy: a pool wants {size} copies on different hosts, and {len(set(hosts))} hosts have OSDs"
        return {"PG_DEGRADED": {"message": message, "severity": "HEALTH_WARN"}}
    return {}


def _daemon_checks(daemons: list[str]) -> Object:
    """Ceph's health checks about daemons that do not run."""
    found: Object = {}
    for check, part in (("MON_DOWN", "mon"), ("MGR_DOWN", "mgr"), ("OSD_DOWN", "osd")):
        names = [daemon for daemon in daemons if daemon.startswith(f"rook-ceph-{part}-")]
        if names:
            found[check] = {"message": f"{len(names)} {part}s down: {', '.join(names)}", "severity": "HEALTH_WARN"}
    return found
