"""Profiles, queues and serving: nothing is offered that no machine can run."""

from collections import Counter
from collections.abc import Iterator

from config.base import format_size
from config.capacity import fits_on_worker, largest_worker, offered_gpus
from config.finding import Finding, suggest_name
from config.site import Site

PROFILES = ("workspaces", "jupyterhub", "profiles")
QUEUES = ("platform", "queues")


def check_profiles(site: Site) -> Iterator[Finding]:
    """Every profile can start on some node, names are unique, one is the default, images stay what they are."""
    seen: dict[str, int] = {}
    default: int | None = None
    known = offered_gpus(site.machines)
    choices = [
        *(["whole"] if any("/" not in kind for kind in known) else []),
        *known,
        *(kind.partition("/")[2] for kind in known if "/" in kind),
    ]
    for index, profile in enumerate(site.workspaces.jupyterhub.profiles):
        path = (*PROFILES, index)
        if seen.setdefault(profile.name, index) != index:
            rule = f"is also the name of profiles[{seen[profile.name]}]"
            yield Finding((*path, "name"), rule, "give each its own")
        if profile.default:
            if default is not None:
                rule = f"is set for profiles[{default}] and profiles[{index}]"
                yield Finding((*path, "default"), rule, "keep one", value=None)
            default = index
        if profile.image.endswith(":latest"):
            rule = "means another image tomorrow"
            yield Finding((*path, "image"), rule, "pin a tag or a digest, as in `image@sha256:…`")
        largest = largest_worker(site.machines, profile.gpu)
        if profile.gpu and not largest.gpus:
            yield Finding((*path, "gpu"), "is on no node", suggest_name(profile.gpu, choices))
        elif not fits_on_worker(
            site.machines, cores=profile.cores, memory=profile.memory, kind=profile.gpu, gpus=profile.gpus
        ):
            wants = f"{profile.cores} cores, {format_size(profile.memory)}"
            has = f"{largest.cores} cores, {format_size(largest.memory) if largest.memory else 'nothing'}"
            if profile.gpu:
                wants, has = f"{wants}, {profile.gpus} GPU", f"{has}, {largest.gpus} GPU"
            yield Finding(
                path, f"wants {wants}; the largest node has {has}", "it could never start: make it smaller", value=None
            )


def check_queues(site: Site) -> Iterator[Finding]:
    """Queues are of tenants that exist, and together promise no more GPUs than there are."""
    settings = site.platform.queues
    tenants = [tenant.name for tenant in site.tenants]
    if settings.queues and not settings.enabled:
        yield Finding((*QUEUES, "queues"), "need platform.queues, which is off", "switch it on", value=None)
    names: dict[str, int] = {}
    promised: Counter[str] = Counter()
    there = offered_gpus(site.machines)
    for index, queue in enumerate(settings.queues):
        path = (*QUEUES, "queues", index)
        if names.setdefault(queue.name, index) != index:
            yield Finding((*path, "name"), f"is also the name of queues[{names[queue.name]}]", "give each its own")
        for place, tenant in enumerate(queue.tenants):
            if tenant not in tenants:
                yield Finding((*path, "tenants", place), "is none of the tenants", suggest_name(tenant, tenants))
        for kind, count in queue.gpus.items():
            if kind not in there:
                rule = "is a kind of GPU that no node has"
                yield Finding((*path, "gpus", kind), rule, suggest_name(kind, there), value=kind)
            elif count < 0:
                yield Finding((*path, "gpus", kind), "is below 0", "ask for what there is")
            else:
                promised[kind] += count
                if promised[kind] > there[kind]:
                    rule = f"makes it {promised[kind]} x {kind} with the queues above; there are {there[kind]}"
                    yield Finding((*path, "gpus", kind), rule, "promise less; idle shares can be borrowed")
    yield from _check_priorities(site)


def _check_priorities(site: Site) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, priority in enumerate(site.platform.queues.priorities):
        if seen.setdefault(priority.name, index) != index:
            rule = f"is also the name of priorities[{seen[priority.name]}]"
            yield Finding((*QUEUES, "priorities", index, "name"), rule, "give each its own")


def check_triton(site: Site) -> Iterator[Finding]:
    """Triton's replicas have a GPU of the kind they ask for, one each."""
    triton = site.workspaces.triton
    path = ("workspaces", "triton")
    if not triton.enabled:
        return
    there = offered_gpus(site.machines)
    if triton.max_replicas < triton.replicas:
        rule = f"is below replicas {triton.replicas}"
        yield Finding((*path, "max-replicas"), rule, f"at least {triton.replicas}", value=triton.max_replicas)
    if triton.gpu and triton.gpu not in there:
        yield Finding((*path, "gpu"), "is a kind of GPU that no node has", suggest_name(triton.gpu, there))
    elif triton.gpu and triton.max_replicas > there[triton.gpu]:
        rule = f"is more than the {there[triton.gpu]} x {triton.gpu} that exist"
        yield Finding((*path, "max-replicas"), rule, "each replica holds one")
