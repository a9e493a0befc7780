"""GPUs: the models that Lyceum knows, and the settings of one card."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from config import mig
from config.base import InvalidValueError, Model, PciAddress, PciId
from config.finding import suggest_name


class Sharing(StrEnum):
    """How several pods share one card."""

    EXCLUSIVE = "exclusive"
    """Not at all: one pod has the card."""
    MIG = "mig"
    """Hardware partitions with isolated memory and faults (Multi-Instance GPU)."""
    TIME_SLICING = "time-slicing"
    """Time slices without isolation of memory or faults: for users who trust each other."""
    MPS = "mps"
    """Concurrent kernels with partitioned memory under one shared daemon (Multi-Process Service)."""


@dataclass(frozen=True)
class Card:
    """Properties of a GPU model.

    Attributes:
        id: PCI vendor and device.
        product: Value of `nvidia.com/gpu.product`.
        label: Value of the `gpu-model` node label (R23).
        memory_gib: Memory on the card.
        mig: MIG profiles and where their instances can lie; empty where the card has no MIG.
        mig_needs_reboot: Enabling MIG under PCI passthrough needs a reboot (gpu-operator#1606).
    """

    id: str
    product: str
    label: str
    memory_gib: int
    mig: mig.Profiles
    mig_needs_reboot: bool = False


CARDS: dict[str, Card] = {
    "a100-40gb": Card("10de:20f1", "NVIDIA-A100-PCIE-40GB", "a100", 40, mig.A100_40GB, mig_needs_reboot=True),
    "a100-80gb": Card("10de:20b5", "NVIDIA-A100-80GB-PCIe", "a100", 80, mig.A100_80GB, mig_needs_reboot=True),
    "a30": Card("10de:20b7", "NVIDIA-A30", "a30", 24, mig.A30, mig_needs_reboot=True),
    "h100-80gb": Card("10de:2331", "NVIDIA-H100-PCIe", "h100", 80, mig.H100_80GB),
    "l40s": Card("10de:26b9", "NVIDIA-L40S", "l40s", 48, {}),
    "a40": Card("10de:2235", "NVIDIA-A40", "a40", 48, {}),
    "rtx-a6000": Card("10de:2230", "NVIDIA-RTX-A6000", "rtx-a6000", 48, {}),
    "rtx-4090": Card("10de:2684", "NVIDIA-GeForce-RTX-4090", "rtx4090", 24, {}),
    "rtx-3090": Card("10de:2204", "NVIDIA-GeForce-RTX-3090", "rtx3090", 24, {}),
    "t4": Card("10de:1eb8", "Tesla-T4", "t4", 16, {}),
}
"""GPU models by their name in site files. IDs: the PCI ID database."""


def _validate_model(model: str) -> str:
    if model not in CARDS:
        raise InvalidValueError("is not a GPU model that Lyceum knows", suggest_name(model, CARDS))
    return model


class Gpu(Model):
    """One GPU of a host."""

    model: Annotated[str, AfterValidator(_validate_model)] = Field(json_schema_extra={"enum": [*sorted(CARDS)]})
    """Model of the GPU."""
    pci: PciAddress
    """PCI address: `0000:41:00.0`."""
    iommu_group: int = Field(ge=0)
    """IOMMU group on the host; the card must be alone in it."""
    subsystem: PciId | None = None
    """PCI subsystem vendor and device ID; without it Proxmox reports the PCI mapping as incomplete."""
    sharing: Sharing = Sharing.EXCLUSIVE
    """How the card is shared."""
    layout: dict[str, int] = Field(default_factory=dict)
    """With `mig`: profile -> number of instances on this card, as in `{1g.5gb: 7}`."""
    replicas: int | None = Field(default=None, ge=2, le=48)
    """With `time-slicing` or `mps`: number of pods that share the card."""

    @property
    def card(self) -> Card:
        """Properties of the card's model."""
        return CARDS[self.model]

    @model_validator(mode="after")
    def _sharing_fits_card(self) -> Self:
        if self.sharing is Sharing.MIG:
            self._check_layout()
        elif self.layout:
            raise InvalidValueError("has a `layout` without `sharing: mig`", "remove it, or change `sharing`")
        if self.sharing in {Sharing.TIME_SLICING, Sharing.MPS} and self.replicas is None:
            remedy = f"`sharing: {self.sharing}` needs it: how many pods share the card"
            raise InvalidValueError("lacks `replicas`", remedy)
        if self.sharing in {Sharing.EXCLUSIVE, Sharing.MIG} and self.replicas is not None:
            remedy = "remove it, or use `time-slicing` or `mps`"
            raise InvalidValueError(f"has `replicas`, which `sharing: {self.sharing}` does not use", remedy)
        return self

    def _check_layout(self) -> None:
        profiles = self.card.mig
        if not profiles:
            raise InvalidValueError(f"cannot use MIG on {self.model}", "use `exclusive`, `time-slicing` or `mps`")
        if not self.layout:
            remedy = "`sharing: mig` needs it: profile -> slices, as in `{1g.5gb: 7}`"
            raise InvalidValueError("lacks `layout`", remedy)
        for profile, count in self.layout.items():
            if profile not in profiles:
                raise InvalidValueError(
                    f"has the MIG profile {profile}, which {self.model} does not offer", f"known: {', '.join(profiles)}"
                )
            if not 1 <= count <= profiles[profile].most:
                raise InvalidValueError(
                    f"has {count} x {profile}, which one {self.model} cannot hold", f"at most {profiles[profile].most}"
                )
        if not mig.can_place(self.layout, profiles):
            nearest = mig.format_layout(mig.nearest_layout(self.layout, profiles))
            raise InvalidValueError(
                f"has the MIG layout {mig.format_layout(self.layout)}, which has no placement on one {self.model}",
                f"`{nearest}` fits: `nvidia-smi mig -lgipp` lists the placements",
            )
