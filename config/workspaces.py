"""The places where people work."""

from typing import Literal

from pydantic import Field

from config.base import DnsLabel, ImageReference, LayerSettings, Model, Size


class Profile(Model):
    """What a user of JupyterHub may start. Absent profiles are made from the GPU model."""

    name: DnsLabel
    """Identity of the profile."""
    title: str
    """What the user reads."""
    cores: int = Field(gt=0)
    """Virtual CPUs."""
    memory: Size
    """Memory."""
    gpu: str | None = None
    """`whole`, or a MIG profile such as `1g.5gb`; absent means no GPU."""
    gpus: int = Field(default=1, ge=1, le=16)
    """How many of them."""
    image: ImageReference
    """Container image with its tag or digest."""
    cuda: int | None = Field(default=None, ge=11)
    """CUDA major version of the image, which determines the driver it needs; absent means that of its tag (`cuda12`, `cu126`)."""
    groups: tuple[str, ...] = ()
    """Who sees it; empty means everyone who is admitted."""
    default: bool = False
    """Chosen when nobody chooses; without one it is the first."""


class JupyterHub(LayerSettings):
    """JupyterHub (R26)."""

    host: DnsLabel = "jupyter"
    """Host name under the site's domain."""
    profiles: tuple[Profile, ...] = ()
    """Own profiles; absent means those that follow from the GPU model."""
    admin_groups: tuple[str, ...] = ("jupyter_admin",)
    """Groups that administer the hub."""
    allowed_groups: tuple[str, ...] = ()
    """Groups that may log in; nobody is admitted without a rule."""
    gpu_groups: tuple[str, ...] = ()
    """Groups that see GPU profiles; empty means everyone who is admitted."""
    home: Size = 10 * 1024
    """Size of a home volume."""
    database: Size = 10 * 1024
    """Volume of the hub's PostgreSQL."""
    schedulers: int = Field(default=2, ge=0, le=5)
    """User schedulers; 0 leaves notebooks to the cluster's own."""
    idle: int = Field(default=60, ge=5)
    """Minutes without use before a notebook server is stopped."""
    test_host: DnsLabel | None = None
    """Host name of a second hub on which changes are tried first (R25); absent means there is none."""
    authenticator: Literal["dummy", "oauth"] = "oauth"
    """`dummy` is for the lab only: one shared password, no identity provider."""


class Kubeflow(Model):
    """The parts of Kubeflow that can be installed and upgraded separately."""

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
    """Volume of the model repository."""
    gpu: str | None = None
    """Kind of GPU that each replica holds, as in `a100-40gb/1g.5gb`; absent means it runs on CPUs."""
    replicas: int = Field(default=1, ge=1)
    """Replicas that always run."""
    max_replicas: int = Field(default=1, ge=1)
    """Up to how many it scales with its load (R41)."""


class Workspaces(Model):
    """Notebooks, training and serving: what users log in to."""

    jupyterhub: JupyterHub = JupyterHub()
    """Notebooks."""
    kubeflow: Kubeflow = Kubeflow()
    """Training, pipelines, serving."""
    triton: Triton = Triton()
    """Serving of trained models."""
