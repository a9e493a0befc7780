"""The people of the lab: who they are on a site, and what the directory says of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from config.validate import load_site
from lab.contracts import Person
from lab.identity import directory
from lab.identity.services import provider_settings
from lab.rundir import RunDir
from lab.spec import login_spec, page_addresses
from tests.support.sites import Settings, site

OIDC: Settings = {"issuer": "https://login.campus.example", "client-id": "lyceum"}
HUB: Settings = {"allowed-groups": ["students", "staff"], "gpu-groups": ["researchers"]}
PEOPLE = (Person("student", "A student", ("students",)), Person("guest", "A guest", ()))


def campus(**oidc: str) -> Settings:
    return {"identity": {"oidc": OIDC | oidc}, "workspaces": {"jupyterhub": HUB}}


def test_the_lab_serves_the_provider_of_its_own_domain() -> None:
    found = login_spec(site(campus()))

    assert found is not None
    assert (found.host, str(found.address)) == ("login.campus.example", "10.9.0.4")
    assert (found.client, found.page) == ("lyceum", "https://jupyter.campus.example")


@pytest.mark.parametrize("issuer", ["https://login.other.example", "https://login.campus.example/realms/campus"])
def test_another_provider_is_not_imitated(issuer: str) -> None:
    assert login_spec(site(campus(issuer=issuer))) is None


def test_without_a_hub_nobody_would_be_sent_to_it() -> None:
    off = campus() | {"workspaces": {"jupyterhub": HUB | {"enabled": False}}}

    assert login_spec(site(off)) is None


def test_there_is_a_person_for_each_way_of_being_known_to_the_hub() -> None:
    found = login_spec(site(campus()))

    assert found is not None
    assert {one.name: one.groups for one in found.people} == {
        "student": ("students",),
        "researcher": ("students", "researchers"),
        "admin": ("jupyter_admin",),
        "guest": (),
    }


def test_the_pages_of_the_lab_have_names_at_its_ingress() -> None:
    found = {host: str(address) for host, address in page_addresses(load_site("lab"))}

    assert found["jupyter.lab.lyceum.internal"] == found["grafana.lab.lyceum.internal"] == "10.21.0.50"


def test_the_provider_is_told_the_secrets_place_and_not_the_secret(tmp_path: Path) -> None:
    spec = login_spec(site(campus()))

    assert spec is not None
    settings = provider_settings(RunDir(tmp_path), spec)
    assert settings["secretFile"] == str(tmp_path / "oidc-client-secret")
    assert settings["issuer"] == OIDC["issuer"], "byte for byte what the hub compares"


@pytest.mark.skipif(not shutil.which("slapadd", path="/usr/sbin"), reason="OpenLDAP is not installed")
def test_openldap_takes_the_configuration_and_the_people(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    configuration, content = tmp_path / "slapd.conf", tmp_path / "people.ldif"
    configuration.write_text(directory.build_configuration(tmp_path))
    content.write_text(directory.build_ldif(PEOPLE, "campus.example"))

    subprocess.run(["/usr/sbin/slapadd", "-f", configuration, "-l", content], check=True, capture_output=True)

    stored = subprocess.run(
        ["/usr/sbin/slapcat", "-f", configuration], check=True, capture_output=True, text=True
    ).stdout
    assert "dn: uid=student,ou=people,dc=campus" in stored
    assert "member: uid=student,ou=people,dc=campus" in stored
    assert "guest" in stored
