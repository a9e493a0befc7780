"""One API call, as the handlers see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.proxmox.errors import bad_parameter
from lab.proxmox.faults import Fault
from lab.proxmox.propstring import split_list


@dataclass(frozen=True)
class Identity:
    """Who is calling."""

    user: str
    """With realm: `lyceum@pve`."""
    token: str | None = None
    """Name of the API token, without the user; None for a ticket."""

    @property
    def name(self) -> str:
        """As ACLs and task identifiers write it: `lyceum@pve` or `lyceum@pve!main`."""
        return f"{self.user}!{self.token}" if self.token else self.user

    @property
    def is_root(self) -> bool:
        """Whether this is root@pam by ticket; a token of root@pam is not (bpg issue 495)."""
        return self.user == "root@pam" and self.token is None


ROOT = Identity("root@pam")


@dataclass
class Call:
    """A parsed request.

    `params` holds query and form parameters; the handlers consume them through the accessors below, which refuse
    missing or malformed ones as Proxmox VE does.
    """

    identity: Identity
    method: str
    path: str
    """Below `/api2/json/`, without slashes at the ends, still percent-encoded."""
    params: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Values of the placeholders of the matched route, decoded."""
    task_fault: Fault | None = None
    """An injected failure of the task that the call starts."""

    def __getitem__(self, placeholder: str) -> str:
        return self.names[placeholder]

    @property
    def node(self) -> str:
        """The node named in the path."""
        return self.names["node"]

    @property
    def vmid(self) -> int:
        """The VM named in the path; raises `ApiError` 400 when it is not a number."""
        return self.number("vmid", self.names["vmid"])

    def text(self, name: str, default: str = "") -> str:
        """A parameter as text; of a repeated one the last value."""
        values = self.params.get(name)
        return values[-1] if values else default

    def required(self, name: str) -> str:
        """A parameter that must be there; raises `ApiError` 400."""
        if name not in self.params:
            raise bad_parameter(name, "property is missing and it is not optional")
        return self.text(name)

    def has(self, name: str) -> bool:
        """Whether the parameter was sent at all."""
        return name in self.params

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter: `1`, `yes`, `volumes_on`, `true`."""
        return self.text(name).lower() in ("1", "yes", "on", "true") if self.has(name) else default

    def items(self, name: str) -> list[str]:
        """A list parameter, repeated or separated by commas."""
        return [item for value in self.params.get(name, ()) for item in split_list(value)]

    def repeated(self, name: str) -> list[str]:
        """Every occurrence of a repeated parameter, unsplit."""
        return list(self.params.get(name, ()))

    def plain(self) -> dict[str, str]:
        """All parameters as a flat mapping."""
        return {name: self.text(name) for name in self.params}

    @staticmethod
    def number(name: str, value: str) -> int:
        """A whole number; raises `ApiError` 400."""
        if not value.isdecimal():
            raise bad_parameter(name, "type check ('integer') failed - got '" + value + "'")
        return int(value)
