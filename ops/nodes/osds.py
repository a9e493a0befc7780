"""Purges the OSDs of a node from Ceph with Rook's own command, which waits until no replica would be lost.

Rook removes only an OSD that is down, and asks Ceph `safe-to-destroy` until the replicas are elsewhere (Rook, "Ceph OSD
Management"). Here that is one Job for each OSD, created and watched through the API, so that no `kubectl exec` is needed.
"""

from ops.clients.kubernetes import Kube, Object
from ops.nodes.facts import ROOK_NAMESPACE, osd_host, osd_id
from ops.wait import retry, wait_until

PURGE_SECONDS = 4 * 3600.0
"""Moving the data of a full 500 GiB disk takes two to three hours over 1 Gbit/s."""
API_SECONDS = 120
SERVICE_ACCOUNT = "rook-ceph-purge-osd"
NODE_LABEL = "lyceum.io/leaving"
_JOBS = f"/apis/batch/v1/namespaces/{ROOK_NAMESPACE}/jobs"
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{ROOK_NAMESPACE}/deployments"


def list_osds(kube: Kube, name: str) -> list[Object]:
    """Deployments of the OSDs on a node."""
    deployments = kube.items(_DEPLOYMENTS, labelSelector="app=rook-ceph-osd")
    return [osd for osd in deployments if osd_host(osd) == name]


def is_purged(kube: Kube, osd: Object) -> bool:
    """Whether the purge of an OSD has succeeded."""
    job = kube.find(f"{_JOBS}/{_job_name(osd)}")
    return job is not None and bool(job.get("status", {}).get("succeeded"))


def purge_osd(kube: Kube, osd: Object, seconds: float = PURGE_SECONDS) -> None:
    """Stops an OSD and waits for its purge; continues one that an interrupted run started.

    Raises:
        WaitTimeoutError: its replicas could not be placed elsewhere in time.
    """
    retry("the API", API_SECONDS, lambda: _start_purge(kube, osd))
    wait_until(f"Ceph to remove OSD {osd_id(osd)}", seconds, lambda: is_purged(kube, osd), every=2)


def _start_purge(kube: Kube, osd: Object) -> None:
    kube.patch(f"{_DEPLOYMENTS}/{osd['metadata']['name']}", {"spec": {"replicas": 0}})
    if kube.find(f"{_JOBS}/{_job_name(osd)}") is None:
        operator = kube.get(f"{_DEPLOYMENTS}/rook-ceph-operator")
        image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
        kube.post(_JOBS, purge_job(osd, image)).raise_for_status()


def list_purge_jobs(kube: Kube, name: str) -> list[Object]:
    """Purge Jobs of a node's OSDs, finished or not."""
    return kube.items(_JOBS, labelSelector=f"{NODE_LABEL}={name}")


def delete_osds(kube: Kube, name: str) -> None:
    """Deletes the OSD Deployments of a node that no longer exists, and the Jobs that purged them."""
    retry("the API", API_SECONDS, lambda: _delete(kube, name))


def _delete(kube: Kube, name: str) -> None:
    for job in list_purge_jobs(kube, name):
        kube.delete(f"{_JOBS}/{job['metadata']['name']}?propagationPolicy=Background")
    for osd in list_osds(kube, name):
        kube.delete(f"{_DEPLOYMENTS}/{osd['metadata']['name']}")


def _job_name(osd: Object) -> str:
    # Ceph reuses IDs; the uid distinguishes this OSD's purge from an earlier one of the same ID.
    return f"lyceum-purge-osd-{osd_id(osd)}-{osd['metadata']['uid'][:8]}"


def purge_job(osd: Object, image: str) -> Object:
    """A Job that runs Rook's `ceph osd remove` with the operator's image and the cluster's configuration."""
    identifier = osd_id(osd)

    def from_secret(name: str, key: str) -> Object:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": "rook-ceph-mon", "key": key}}}

    container = {
        "name": "purge",
        "image": image,
        "args": [
            *("ceph", "osd", "remove", f"--osd-ids={identifier}"),
            *("--preserve-pvc=false", "--force-osd-removal=false"),
        ],
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {
                "name": "ROOK_MON_ENDPOINTS",
                "valueFrom": {"configMapKeyRef": {"name": "rook-ceph-mon-endpoints", "key": "data"}},
            },
            from_secret("ROOK_CEPH_USERNAME", "ceph-username"),
            from_secret("ROOK_FSID", "fsid"),
            {"name": "ROOK_CONFIG_DIR", "value": "/var/lib/rook"},
        ],
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/etc/ceph"},
            {"name": "state", "mountPath": "/var/lib/rook"},
            {"name": "admin", "mountPath": "/var/lib/rook-ceph-mon"},
        ],
    }
    admin = {"secretName": "rook-ceph-mon", "items": [{"key": "ceph-secret", "path": "secret.keyring"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": _job_name(osd), "namespace": ROOK_NAMESPACE, "labels": {NODE_LABEL: osd_host(osd)}},
        "spec": {
            "backoffLimit": 10,
            "template": {
                "metadata": {"labels": {"app": "lyceum-purge-osd"}},
                "spec": {
                    "serviceAccountName": SERVICE_ACCOUNT,
                    "restartPolicy": "Never",
                    "containers": [container],
                    "volumes": [
                        {"name": "configuration", "emptyDir": {}},
                        {"name": "state", "emptyDir": {}},
                        {"name": "admin", "secret": admin},
                    ],
                },
            },
        },
    }
