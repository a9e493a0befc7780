"""Profiles, queues and model serving: everything that is offered can run on some machine."""

from collections import Counter
from collections.abc import Iterator

from config.allocatable import format_amount
from config.capacity import fits_on_worker, largest_request, most_gpus, offered_gpus
from config.finding import FieldPath, Finding, suggest_name
from config.site import Site
from config.workspaces import Profile

PROFILES = ("workspaces", "jupyterhub", "profiles")
QUEUES = ("platform", "queues")


def check_profiles(site: Site) -> Iterator[Finding]:
    """Every profile fits on some node; names are unique, at most one is the default, images are pinned."""
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
            yield Finding((*path, "name"), rule, "give each a different name")
        if profile.default:
            if default is not None:
                rule = f"is set for profiles[{default}] and profiles[{index}]"
                yield Finding((*path, "default"), rule, "keep one of them", value=None)
            default = index
        if profile.image.endswith(":latest"):
            rule = "is not pinned: it can change at any time"
            yield Finding((*path, "image"), rule, "pin a tag or a digest, as in `image@sha256:…`")
        if profile.gpu and not most_gpus(site.machines, profile.gpu):
            yield Finding((*path, "gpu"), "is a kind of GPU that no node has", suggest_name(profile.gpu, choices))
        else:
            yield from _check_profile_size(site, profile, path)


def _check_profile_size(site: Site, profile: Profile, path: FieldPath) -> Iterator[Finding]:
    """Guarantees are not above their limits, and a worker where nobody works has room for them."""
    for field, limit, guarantee in (
        ("cores-guarantee", profile.cores, profile.cores_guarantee),
        ("memory-guarantee", profile.memory, profile.memory_guarantee),
    ):
        if guarantee and guarantee > limit:
            yield Finding((*path, field), "is more than its limit", f"at most the `{field.partition('-')[0]}`")
    if profile.gpu and profile.gpus > (most := most_gpus(site.machines, profile.gpu)):
        rule = f"needs {profile.gpus} GPU; the largest node has {most}"
        yield Finding((*path, "gpus"), rule, "make it smaller: it could never start", value=None)
    elif not fits_on_worker(site, site.machines, profile.request, profile.gpu, profile.gpus):
        largest = largest_request(site, site.machines, profile.gpu, profile.gpus)
        gpus = f", {profile.gpus} GPU" if profile.gpu else ""
        rule = f"needs {format_amount(profile.request)}{gpus}; a node has at most {format_amount(largest)} left for it"
        remedy = "make it smaller, or guarantee less than the limit with `memory-guarantee`: it could never start"
        yield Finding(path, rule, remedy, value=None)


def check_queues(site: Site) -> Iterator[Finding]:
    """Queues name tenants and GPUs that exist, and together guarantee at most the GPUs that there are."""
    settings = site.platform.queues
    tenants = [tenant.name for tenant in site.tenants]
    if settings.queues and not settings.enabled:
        yield Finding(
            (*QUEUES, "queues"), "need platform.queues, which is off", "set `enabled: true` on it", value=None
        )
    names: dict[str, int] = {}
    promised: Counter[str] = Counter()
    there = offered_gpus(site.machines)
    for index, queue in enumerate(settings.queues):
        path = (*QUEUES, "queues", index)
        if names.setdefault(queue.name, index) != index:
            yield Finding(
                (*path, "name"), f"is also the name of queues[{names[queue.name]}]", "give each a different name"
            )
        for place, tenant in enumerate(queue.tenants):
            if tenant not in tenants:
                yield Finding((*path, "tenants", place), "is not one of the tenants", suggest_name(tenant, tenants))
        for kind, count in queue.gpus.items():
            if kind not in there:
                rule = "is a kind of GPU that no node has"
                yield Finding((*path, "gpus", kind), rule, suggest_name(kind, there), value=kind)
            elif count < 0:
                yield Finding((*path, "gpus", kind), "is below 0", "correct the number")
            else:
                promised[kind] += count
                if promised[kind] > there[kind]:
                    rule = f"makes {promised[kind]} x {kind} together with the queues above; {there[kind]} exist"
                    yield Finding((*path, "gpus", kind), rule, "use a smaller number: queues borrow what is idle")
    yield from _check_priorities(site)


def _check_priorities(site: Site) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, priority in enumerate(site.platform.queues.priorities):
        if seen.setdefault(priority.name, index) != index:
            rule = f"is also the name of priorities[{seen[priority.name]}]"
            yield Finding((*QUEUES, "priorities", index, "name"), rule, "give each a different name")


def check_triton(site: Site) -> Iterator[Finding]:
    """Every replica of Triton gets a GPU of its kind."""
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
        yield Finding((*path, "max-replicas"), rule, "use a smaller number: each replica holds one")
