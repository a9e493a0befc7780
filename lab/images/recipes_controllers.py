"""Images of the controllers that run as pods of the lab: one program of the toolchain each."""

from lab.images.recipes import Binaries, Image
from toolchain.controller_programs import CERT_MANAGER, JOBSET, KUEUE, METALLB, TRAINER
from toolchain.programs import pinned_module

INGRESS_NGINX = "registry.k8s.io/ingress-nginx/controller:v1.15.1"
"""Of the pinned chart. Traefik runs under its name (docs/lab.md)."""


def images() -> tuple[Image, ...]:
    """Their names are those of the charts, their tags those of the pins in the toolchain."""
    return (
        *_managers(),
        *_metallb(),
        *_cert_manager(),
        Image(
            names=(
                INGRESS_NGINX,
                f"{INGRESS_NGINX}@sha256:594ceea76b01c592858f803f9ff4d2cb40542cae2060410b2c95f75907d659e1",
            ),
            layers=(
                Binaries("traefik", {"/nginx-ingress-controller": "nginx-ingress-controller", "/traefik": "traefik"}),
            ),
            entrypoint=("/nginx-ingress-controller",),
            # What the chart's arguments say by default; the stand-in chart has none.
            command=("--publish-service=ingress-nginx/ingress-nginx-controller",),
            user="101:82",
        ),
    )


def _managers() -> tuple[Image, ...]:
    """Kueue, JobSet and Trainer: their charts set the command `/manager`."""
    kueue = pinned_module("controllers/kueue", KUEUE)
    trainer = pinned_module("controllers/jobset-trainer", TRAINER)
    jobset = pinned_module("controllers/jobset-trainer", JOBSET)
    return tuple(
        Image(names=(name,), layers=(Binaries(program, {"/manager": binary}),), entrypoint=("/manager",))
        for name, program, binary in (
            (f"registry.k8s.io/kueue/kueue:v{kueue}", "kueue", "kueue"),
            (f"registry.k8s.io/jobset/jobset:v{jobset}", "jobset-trainer", "jobset"),
            (f"ghcr.io/kubeflow/trainer/trainer-controller-manager:v{trainer}", "jobset-trainer", "trainer"),
        )
    )


def _metallb() -> tuple[Image, ...]:
    version = pinned_module("controllers/metallb", METALLB)
    return tuple(
        Image(
            names=(f"quay.io/metallb/{part}:v{version}",),
            layers=(Binaries("metallb", {f"/{part}": f"metallb-{part}"}),),
            entrypoint=(f"/{part}",),
            # The speaker answers ARP with a raw socket, as root; the chart sets the controller's user.
            user="0",
        )
        for part in ("controller", "speaker")
    )


def _cert_manager() -> tuple[Image, ...]:
    """Four images of one program; their layer is the same."""
    version = pinned_module("controllers/certmanager", CERT_MANAGER)
    return tuple(
        Image(
            names=(f"quay.io/jetstack/cert-manager-{part}:v{version}",),
            layers=(Binaries("certmanager", {"/certmanager": "certmanager"}),),
            entrypoint=("/certmanager", part),
            user="1000",
        )
        for part in ("controller", "webhook", "cainjector", "startupapicheck")
    )
