"""The campus's directory: OpenLDAP's slapd with the people and groups of a site. Text builders are pure."""

from collections.abc import Sequence
from pathlib import Path

from lab.contracts import Person

BASE = "dc=campus"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "lyceum"  # nothing to protect: the directory ends with the lab
PASSWORD = "lyceum"  # noqa: S105
"""Everybody's."""
SCHEMAS = Path("/etc/ldap/schema")
MODULES = Path("/usr/lib/ldap")


def url(port: int) -> str:
    """Where it answers."""
    return f"ldap://127.0.0.1:{port}/"


def person_dn(name: str) -> str:
    """The distinguished name of a person."""
    return f"uid={name},ou=people,{BASE}"


def build_ldif(people: Sequence[Person], domain: str) -> str:
    """The directory's content.

    A group must have a member (RFC 4519), so each has one that nobody logs in as.
    """
    entries = [f"dn: {BASE}\nobjectClass: domain\ndc: campus\n"]
    entries += [f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n" for unit in ("people", "groups")]
    for person in people:
        entries.append(
            f"dn: {person_dn(person.name)}\nobjectClass: inetOrgPerson\nuid: {person.name}\ncn: {person.title}\n"
            f"sn: {person.name}\nmail: {person.name}@{domain}\nuserPassword: {PASSWORD}\n"
        )
    for group in dict.fromkeys(group for person in people for group in person.groups):
        members = [f"cn=nobody,{BASE}", *(person_dn(person.name) for person in people if group in person.groups)]
        lines = "".join(f"member: {member}\n" for member in members)
        entries.append(f"dn: cn={group},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {group}\n{lines}")
    return "\n".join(entries)


def build_configuration(place: Path) -> str:
    """slapd.conf(5): one database below `place`, readable by all, with locked accounts (slapo-ppolicy)."""
    schemas = "".join(f"include {SCHEMAS}/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
    return (
        f"{schemas}modulepath {MODULES}\nmoduleload back_mdb\nmoduleload ppolicy\npidfile {place}/slapd.pid\n"
        f'database mdb\nsuffix "{BASE}"\nrootdn "{ADMIN}"\nrootpw {ADMIN_PASSWORD}\ndirectory {place}/db\n'
        "maxsize 16777216\nindex objectClass,uid,member eq\noverlay ppolicy\n"
        "access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n"
    )
