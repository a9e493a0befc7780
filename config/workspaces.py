"""Settings of the workspaces: JupyterHub, Kubeflow, Triton."""

from typing import Literal

from pydantic import Field

from config.allocatable import Amount
from config.base import DnsLabel, ImageReference, LayerSettings, Model, Size


class Profile(Model):
    """A notebook server that a user of JupyterHub may start."""

    name: DnsLabel
    """Identifier of the profile."""
    title: str
    """Title that users see."""
    cores: int = Field(gt=0)
    """Virtual CPUs, at most."""
    memory: Size
    """Memory, at most."""
    cores_guarantee: int | None = Field(default=None, gt=0)
    """Virtual CPUs that are kept for it on the node; absent means all of `cores`."""
    memory_guarantee: Size | None = None
    """Memory that is kept for it on the node; absent means all of `memory`. Below `memory`, notebooks of a node may together use more than it has, and the kernel ends one of them."""
    gpu: str | None = None
    """`whole`, or a MIG profile such as `1g.5gb`; absent means no GPU."""
    gpus: int = Field(default=1, ge=1, le=16)
    """Number of GPUs."""
    image: ImageReference
    """Container image with its tag or digest."""
    cuda: int | None = Field(default=None, ge=11)
    """CUDA major version of the image, which determines the driver that it needs; absent means that of its tag (`cuda12`, `cu126`)."""
    groups: tuple[str, ...] = ()
    """Groups that see it; empty means every user of the hub."""
    default: bool = False
    """Whether it is preselected; without one the first is."""

    @property
    def request(self) -> Amount:
        """What its pod requests of a node."""
        return Amount((self.cores_guarantee or self.cores) * 1000, self.memory_guarantee or self.memory)


class JupyterHub(LayerSettings):
    """JupyterHub (R26)."""

    host: DnsLabel = "jupyter"
    """Host name under the site's domain."""
    profiles: tuple[Profile, ...] = ()
    """Profiles; absent means one for each kind of GPU of the site."""
    admin_groups: tuple[str, ...] = ("jupyter_admin",)
    """Groups that administer the hub."""
    allowed_groups: tuple[str, ...] = ()
    """Groups that may log in; required, because an empty list admits nobody."""
    gpu_groups: tuple[str, ...] = ()
    """Groups that see profiles with GPUs; empty means every user of the hub."""
    home: Size = 10 * 1024
    """Size of a home volume."""
    database: Size = 10 * 1024
    """Size of the volume of the hub's PostgreSQL."""
    schedulers: int = Field(default=2, ge=0, le=5)
    """Replicas of the user scheduler; 0 means the cluster's own scheduler."""
    idle: int = Field(default=60, ge=5)
    """Minutes without use before a notebook server is stopped."""
    test_host: DnsLabel | None = None
    """Host name of a second hub for testing changes (R25); absent means there is none."""
    authenticator: Literal["dummy", "oauth"] = "oauth"
    """`oauth` uses the identity provider; `dummy` is one shared password and only for the simulated campus."""


class Kubeflow(Model):
    """The components of Kubeflow, each installed and upgraded separately."""

    trainer: LayerSettings = LayerSettings()
    """Distributed training."""
    pipelines: LayerSettings = LayerSettings()
    """Pipelines."""
    kserve: LayerSettings = LayerSettings()
    """Model serving."""


class Triton(LayerSettings):
    """Triton Inference Server (R42)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "triton"
    """Host name under the site's domain."""
    models: Size = 100 * 1024
    """Size of the volume of the model repository."""
    gpu: str | None = None
    """Kind of GPU for each replica, as in `a100-40gb/1g.5gb`; absent means that it runs on CPUs."""
    replicas: int = Field(default=1, ge=1)
    """Minimum number of replicas."""
    max_replicas: int = Field(default=1, ge=1)
    """Maximum number of replicas to which it scales with the load (R41)."""


class Workspaces(Model):
    """The services that people work with."""

    jupyterhub: JupyterHub = JupyterHub()
    """Notebooks."""
    kubeflow: Kubeflow = Kubeflow()
    """Training, pipelines, serving."""
    triton: Triton = Triton()
    """Inference server for trained models."""
