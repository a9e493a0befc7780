"""What the Pulumi engine knows of a stack: its exported state, read and changed in this one place. Pure."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from config.hosts import Node, Role
from config.resource_names import (
    CLUSTER_PROVIDER_TYPE,
    CLUSTER_TYPES,
    COMMAND_TYPE,
    MACHINE_PARTS,
    RELEASE_TYPE,
    STACK_TYPE,
    VM_TYPE,
    Part,
    resource_name,
    resource_owner,
)
from config.site import Site

CLUSTER_ROLES = frozenset(role.value for role in (Role.SERVER, Role.WORKER, Role.STORAGE))
HELD = {
    Role.SERVER: "an etcd vote",
    Role.WORKER: "running jobs, local data",
    Role.STORAGE: "Ceph data",
    Role.MAINTENANCE: "the operators' tools",
    Role.DESKTOP: "a student's desktop",
}
"""What is lost with a machine of each role."""


@dataclass(frozen=True)
class Resource:
    """One resource of the state.

    Attributes:
        record: The engine's own record, kept as it is: it goes back to the engine with fields that only the engine reads.
    """

    record: Mapping[str, Any]

    @property
    def urn(self) -> str:
        """Its identity: `urn:pulumi:dev::lyceum::<types>::<name>`."""
        return str(self.record["urn"])

    @property
    def name(self) -> str:
        """The last part of the URN."""
        return self.urn.rpartition("::")[2]

    @property
    def type(self) -> str:
        """Its type token."""
        return str(self.record["type"])

    @property
    def in_cluster(self) -> bool:
        """Whether it lives inside the cluster, or waits for something there."""
        checks = self.type == COMMAND_TYPE and resource_owner(self.name, Part.WEBHOOK) is not None
        return checks or self.type.startswith(CLUSTER_TYPES)

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What it was made with."""
        return self.record.get("inputs") or {}

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What its provider answered."""
        return self.record.get("outputs") or {}

    @property
    def protected(self) -> bool:
        """Whether the engine refuses to delete it."""
        return bool(self.record.get("protect"))

    @property
    def condemned(self) -> bool:
        """Whether it was replaced already and only its deletion is left."""
        return bool(self.record.get("delete"))

    @property
    def dependencies(self) -> tuple[str, ...]:
        """URNs of what it needs."""
        return tuple(self.record.get("dependencies") or ())

    @property
    def created(self) -> str | None:
        """When it was made, as an ISO date."""
        return self.record.get("created")

    def unprotected(self) -> "Resource":
        """The same, and the engine may delete it."""
        return Resource({**self.record, "protect": False})

    def without_dependencies(self, urns: Collection[str]) -> "Resource":
        """The same, and it no longer needs these."""
        changed = dict(self.record)
        if "dependencies" in changed:
            changed["dependencies"] = [urn for urn in self.dependencies if urn not in urns]
        if by_property := changed.get("propertyDependencies"):
            changed["propertyDependencies"] = {
                key: [urn for urn in needed or () if urn not in urns] for key, needed in by_property.items()
            }
        return Resource(changed)


@dataclass(frozen=True)
class PendingOperation:
    """An operation that the engine began, and of which it never noted the end.

    Attributes:
        kind: `creating`, `updating`, `deleting`, …
        resource: What it works on.
    """

    kind: str
    resource: Resource


@dataclass(frozen=True)
class Vm:
    """A virtual machine that the stack has made.

    Attributes:
        name: Its name.
        vm_id: Its VMID.
        host: The Proxmox host it is on.
        urn: Its resource.
        tags: Its tags; its role is one of them.
    """

    name: str
    vm_id: int
    host: str
    urn: str
    tags: frozenset[str] = CLUSTER_ROLES

    @property
    def in_cluster(self) -> bool:
        """Whether it may be a node of the cluster; whatever has no tag of another role may."""
        return bool(self.tags & CLUSTER_ROLES)

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """Reads it from its resource."""
        inputs = resource.inputs
        return cls(
            name=str(inputs["name"]),
            vm_id=int(inputs["vmId"]),
            host=str(inputs["nodeName"]),
            urn=resource.urn,
            tags=frozenset(inputs.get("tags") or CLUSTER_ROLES),
        )


@dataclass(frozen=True)
class State:
    """An exported state. What changes it returns another one.

    Attributes:
        document: All of it, as `pulumi stack export` prints it.
    """

    document: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `pulumi stack export` prints."""
        return cls(json.loads(text))

    def dump(self) -> str:
        """The form that `pulumi stack import` reads."""
        return json.dumps(self.document)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order in which they were made."""
        return tuple(Resource(record) for record in self._deployment.get("resources") or ())

    @property
    def pending_operations(self) -> tuple[PendingOperation, ...]:
        """Operations that a killed run had started."""
        pending = self._deployment.get("pending_operations") or ()
        return tuple(PendingOperation(str(one["type"]), Resource(one["resource"])) for one in pending)

    @property
    def vms(self) -> dict[str, Vm]:
        """The stack's virtual machines, by name."""
        return {vm.name: vm for vm in map(Vm.of, self._live(VM_TYPE))}

    @property
    def vm_urns(self) -> dict[str, str]:
        """Every virtual machine that an update or a destroy could delete, condemned ones too: name -> URN."""
        return {str(one.inputs["name"]): one.urn for one in self.resources if one.type == VM_TYPE}

    @property
    def k3s_commands(self) -> dict[str, str]:
        """URN of the command that installs K3s on each node, by the node's name."""
        owners = ((resource_owner(one.name, Part.K3S), one) for one in self.resources if one.type == COMMAND_TYPE)
        return {owner: one.urn for owner, one in owners if owner}

    @property
    def host_keys(self) -> dict[str, str]:
        """SSH host key of each machine, `ssh-ed25519 …`, by the machine's name."""
        found = {}
        for one in self.resources:
            owner, key = resource_owner(one.name, Part.HOST_KEY), one.outputs.get("stdout")
            if owner and isinstance(key, str) and not one.condemned:
                found[owner] = key
        return found

    @property
    def releases(self) -> tuple[Resource, ...]:
        """Helm releases, in the order in which they were made."""
        return tuple(self._live(RELEASE_TYPE))

    @property
    def cluster_providers(self) -> tuple[Resource, ...]:
        """The providers through which the engine reaches the cluster."""
        return tuple(self._live(CLUSTER_PROVIDER_TYPE))

    @property
    def stack_outputs(self) -> dict[str, str]:
        """The stack's own outputs, those that are plain texts."""
        stack = next((one for one in self.resources if one.type == STACK_TYPE), None)
        return {key: value for key, value in (stack.outputs if stack else {}).items() if isinstance(value, str)}

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig, also where the run that made the cluster never finished; else empty.

        Needs a state that was exported with its secrets.
        """
        for one in self.resources:
            if one.type == STACK_TYPE and (value := one.outputs.get("kubeconfig")):
                return _plain_text(value)
            if one.type == CLUSTER_PROVIDER_TYPE and (value := one.inputs.get("kubeconfig")):
                return _plain_text(value)
        return ""

    def without_pending_operations(self) -> Self:
        """The state after whatever was pending has been dealt with."""
        return self._with(pending_operations=[])

    def without_machines(self, names: Collection[str], hosts: Collection[str] = ()) -> Self:
        """The state without machines that Proxmox no longer has, and without what ran on them.

        Args:
            names: The machines.
            hosts: Hosts whose images are gone with them.
        """
        own = {resource_name(name, part) for name in names for part in MACHINE_PARTS}
        own |= {resource_name(host, Part.IMAGE) for host in hosts}
        gone = {one.urn for one in self.resources if one.name in own}
        return self._with_resources(one.without_dependencies(gone) for one in self.resources if one.urn not in gone)

    def without_cluster_objects(self) -> Self:
        """The state without what lives inside the cluster, which ends with its machines (docs/adr/0016).

        Checks of webhooks go too: they depend on releases, and the engine refuses a state that lacks what others need.
        """
        return self._with_resources(one for one in self.resources if not one.in_cluster)

    def unprotected(self, urns: Collection[str] | None = None) -> Self:
        """The state in which the engine may delete these resources; by default all."""
        return self._with_resources(
            one.unprotected() if urns is None or one.urn in urns else one for one in self.resources
        )

    @property
    def _deployment(self) -> Mapping[str, Any]:
        deployment: Mapping[str, Any] = self.document["deployment"]
        return deployment

    def _live(self, kind: str) -> Iterator[Resource]:
        return (one for one in self.resources if one.type == kind and not one.condemned)

    def _with(self, **parts: Any) -> Self:
        return type(self)({**self.document, "deployment": {**self._deployment, **parts}})

    def _with_resources(self, resources: Iterator[Resource]) -> Self:
        return self._with(resources=[one.record for one in resources])


def _plain_text(value: Any) -> str:
    """A secret of an exported state is an envelope around its JSON text."""
    return str(json.loads(value["plaintext"])) if isinstance(value, Mapping) else str(value)


@dataclass(frozen=True)
class Removal:
    """A machine that exists and that the settings no longer want.

    Attributes:
        name: Its name.
        urn: Its resource.
        holds: What is lost with it.
    """

    name: str
    urn: str
    holds: str


def find_removals(state: State, site: Site, wanted: Collection[Node]) -> list[Removal]:
    """Machines that an update would delete."""
    keep = {node.name for node in wanted}
    known = {node.name: node for node in site.machines}
    return [
        Removal(name, urn, _held_by(known.get(name))) for name, urn in sorted(state.vm_urns.items()) if name not in keep
    ]


def _held_by(node: Node | None) -> str:
    if node is None:
        return "unknown: it is no longer in the site's file"
    return HELD[node.role] + (", Ceph data" if node.shape.ceph else "")
