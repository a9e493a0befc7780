"""Controllers that run in pods of the lab: real programs, and the charts that install them.

Each is compiled from the Go module of its project at the version of the pinned chart, and the chart is packed from the
same module. `toolchain/controllers/<name>/go.mod` pins the versions.
"""

from __future__ import annotations

import shutil

from toolchain import charts
from toolchain.programs import BuildWorkspace, Program, pinned_module

KUEUE = "sigs.k8s.io/kueue"
CERT_MANAGER = "github.com/cert-manager/cert-manager"
METALLB = "go.universe.tf/metallb"
JOBSET = "sigs.k8s.io/jobset"
TRAINER = "github.com/kubeflow/trainer/v2"
TRAEFIK = "github.com/traefik/traefik/v3"
LEGO = "github.com/go-acme/lego/v5"
LEGO_VERSION = "5.4.1"
"""Of the ACME client that Traefik imports; its go.mod would require the clients of every DNS service."""


def _build_kueue(workspace: BuildWorkspace) -> None:
    version = {f"{KUEUE}/pkg/version.GitVersion": f"v{workspace.version}"}
    workspace.compile(f"{KUEUE}/cmd/kueue", "kueue", version)
    workspace.keep_data(f"charts/kueue-{workspace.version}.tgz", charts.kueue_chart(workspace.module(KUEUE)))


def _build_cert_manager(workspace: BuildWorkspace) -> None:
    version = {f"{CERT_MANAGER}/pkg/util.AppVersion": f"v{workspace.version}"}
    workspace.compile(".", "certmanager", version)
    archive = charts.cert_manager_chart(workspace.module(CERT_MANAGER))
    workspace.keep_data(f"charts/cert-manager-v{workspace.version}.tgz", archive)


def _build_metallb(workspace: BuildWorkspace) -> None:
    for part in ("controller", "speaker"):
        workspace.compile(f"{METALLB}/{part}", f"metallb-{part}")
    workspace.keep_data(f"charts/metallb-{workspace.version}.tgz", charts.metallb_chart(workspace.module(METALLB)))


def _build_trainer(workspace: BuildWorkspace) -> None:
    workspace.compile(JOBSET, "jobset")
    workspace.compile(f"{TRAINER}/cmd/trainer-controller-manager", "trainer")
    archive = charts.trainer_chart(workspace.module(TRAINER), workspace.module(JOBSET))
    workspace.keep_data(f"charts/kubeflow-trainer-{workspace.version}.tgz", archive)


def _build_traefik(workspace: BuildWorkspace) -> None:
    # lego without its DNS services: a package of our own in the place of providers/dns, and only what is left in go.mod.
    copy = workspace.copy_module(f"{LEGO}@v{LEGO_VERSION}", "lego")
    shutil.rmtree(copy / "providers" / "dns")
    shutil.copytree(workspace.source / "dns", copy / "providers" / "dns")
    shutil.copyfile(workspace.source / "lego.mod", copy / "go.mod")
    version = {f"{TRAEFIK}/pkg/version.Version": workspace.version}
    workspace.compile(f"{TRAEFIK}/cmd/traefik", "traefik", version)
    workspace.compile(".", "nginx-ingress-controller")


def controller_programs() -> tuple[Program, ...]:
    """The controllers in build order: those that share Kubernetes' libraries first, so that each builds upon the last."""
    kueue, cert_manager = (
        pinned_module("controllers/kueue", KUEUE),
        pinned_module("controllers/certmanager", CERT_MANAGER),
    )
    trainer, metallb = (
        pinned_module("controllers/jobset-trainer", TRAINER),
        pinned_module("controllers/metallb", METALLB),
    )
    return (
        Program(
            name="kueue",
            version=kueue,
            module="controllers/kueue",
            sources=(),
            binaries=("kueue",),
            data=(f"charts/kueue-{kueue}.tgz",),
            build=_build_kueue,
            cold_minutes=3,
            part="controllers",
        ),
        Program(
            name="jobset-trainer",
            version=trainer,
            module="controllers/jobset-trainer",
            sources=(),
            binaries=("jobset", "trainer"),
            data=(f"charts/kubeflow-trainer-{trainer}.tgz",),
            build=_build_trainer,
            cold_minutes=1,
            part="controllers",
        ),
        Program(
            name="certmanager",
            version=cert_manager,
            module="controllers/certmanager",
            sources=("main.go", "controller.go", "webhook.go"),
            binaries=("certmanager",),
            data=(f"charts/cert-manager-v{cert_manager}.tgz",),
            build=_build_cert_manager,
            cold_minutes=1.5,
            part="controllers",
        ),
        Program(
            name="metallb",
            version=metallb,
            module="controllers/metallb",
            sources=(),
            binaries=("metallb-controller", "metallb-speaker"),
            data=(f"charts/metallb-{metallb}.tgz",),
            build=_build_metallb,
            cold_minutes=2,
            part="controllers",
        ),
        Program(
            name="traefik",
            version=pinned_module("controllers/traefik", TRAEFIK),
            module="controllers/traefik",
            sources=("main.go", "auth", "dns", "ext", "lego.mod"),
            binaries=("traefik", "nginx-ingress-controller"),
            build=_build_traefik,
            cold_minutes=3,
            part="controllers",
        ),
    )
