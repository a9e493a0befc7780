"""The runtimes of Kubeflow Trainer that a TrainJob can name (R38, R43). Pure.

Trainer's chart makes its own by a hook Job, which runs as root and fetches programs from the internet: a `restricted`
namespace refuses the first, a closed campus the second. Its pods, too, would be refused where people may start them. These
meet `restricted`, and are named as Trainer's, which its SDK looks for.
"""

from typing import Any

from config.versions import DEEPSPEED_RUNTIME, TORCH_RUNTIME

Object = dict[str, Any]
USER = 1000
"""User of the pods. Torch's image has none, deepspeed's calls it `mpiuser`."""
_POD = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_TRAINER_STEP = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
"""Label of the job that a TrainJob's own settings go to."""


def _job(name: str, container: Object, *, trains: bool = False, **fields: Any) -> Object:
    template = {"spec": {"template": {"spec": {"securityContext": _POD, "containers": [container]}}}}
    return {"name": name, "template": template | ({"metadata": {"labels": _TRAINER_STEP}} if trains else {}), **fields}


def _container(image: str, **fields: Any) -> Object:
    return {"name": "node", "image": image, "securityContext": _CONTAINER, **fields}


def torch_runtime() -> Object:
    """Spec for `torchrun` on any number of nodes."""
    # The user has no entry in the image, hence no home: what libraries cache there goes to /tmp.
    container = _container(TORCH_RUNTIME, env=[{"name": "HOME", "value": "/tmp"}])  # noqa: S108 - in the pod
    return {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {"spec": {"replicatedJobs": [_job("node", container, trains=True)]}},
    }


def deepspeed_runtime() -> Object:
    """Spec for `mpirun`: a launcher that is a node too, and nodes that it reaches by SSH at port 2222."""
    server = _container(
        DEEPSPEED_RUNTIME,
        command=["/usr/sbin/sshd"],
        args=["-De", "-f", "/home/mpiuser/.sshd_config"],
        readinessProbe={"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5},
    )
    launcher = _job(
        "launcher", _container(DEEPSPEED_RUNTIME), trains=True, dependsOn=[{"name": "node", "status": "Ready"}]
    )
    policy = {
        "numProcPerNode": 1,
        "mpiImplementation": "OpenMPI",
        "sshAuthMountPath": "/home/mpiuser/.ssh",
        "runLauncherAsNode": True,
    }
    return {
        "mlPolicy": {"numNodes": 1, "mpi": policy},
        "template": {
            "spec": {
                "network": {"publishNotReadyAddresses": True},
                "successPolicy": {"operator": "All", "targetReplicatedJobs": ["launcher"]},
                "replicatedJobs": [_job("node", server), launcher],
            }
        },
    }


RUNTIMES = {"torch": torch_runtime(), "deepspeed": deepspeed_runtime()}
"""Framework -> spec of its ClusterTrainingRuntime `<framework>-distributed`."""
