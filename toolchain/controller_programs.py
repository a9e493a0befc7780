"""Controllers that run in pods of the lab: real programs, and the charts that install them.

Each is compiled from the Go module of its project at the version of the pinned chart, and the chart is packed from the
same module. `toolchain/controllers/<name>/go.mod` pins the versions.
"""

from __future__ import annotations

import shutil

from toolchain import charts
from toolchain.programs import BuildWorkspace, Program, controller_program

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
    return (
        controller_program("kueue", KUEUE, _build_kueue, ("kueue",), 2, data=("charts/kueue-{version}.tgz",)),
        controller_program(
            "jobset-trainer",
            TRAINER,
            _build_trainer,
            ("jobset", "trainer"),
            1,
            data=("charts/kubeflow-trainer-{version}.tgz",),
        ),
        controller_program(
            "certmanager",
            CERT_MANAGER,
            _build_cert_manager,
            ("certmanager",),
            1.5,
            sources=("main.go", "controller.go", "webhook.go"),
            data=("charts/cert-manager-v{version}.tgz",),
        ),
        controller_program(
            "metallb",
            METALLB,
            _build_metallb,
            ("metallb-controller", "metallb-speaker"),
            1.5,
            data=("charts/metallb-{version}.tgz",),
        ),
        controller_program(
            "traefik",
            TRAEFIK,
            _build_traefik,
            ("traefik", "nginx-ingress-controller"),
            2,
            sources=("main.go", "auth", "dns", "ext", "lego.mod"),
        ),
    )
