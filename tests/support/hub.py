"""A real JupyterHub with the configuration of a site, in front of a real identity provider, directory and API server.

Hub, provider and directory are processes on loopback. There is no proxy: people ask the hub itself.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx

from components.workspaces import jupyterhub
from config.site import OIDC_CA_FILE, Site
from lab import certificates, identity
from lab.charts.stand_in import load_catalog
from lab.contracts import LoginSpec
from lab.identity import directory
from lab.identity.packages import SECRET
from lab.rundir import RunDir
from tests.contracts.hub_configuration import overlay
from tests.support.ports import free_ports
from tests.support.started import Started

READING = Path(__file__).resolve().parents[2] / "lab/charts/files/jupyterhub/jupyterhub_config.py"
START_SECONDS = 120
CONFIGURATION = """\
import json, runpy, sys
from jupyterhub.proxy import Proxy
here = {here!r}
sys.path.insert(0, here)
given = json.load(open(here + "/given.json"))
c = get_config()
runpy.run_path(given["reading"])["read_values"](c, given["values"], given["secrets"], given["environment"])

class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {{}}

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = given["address"]
c.JupyterHub.hub_connect_url = given["address"]
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = here + "/cookie"
c.CampusAuthenticator.http_request_kwargs = {{"ca_certs": given["ca"]}}
c.CampusAuthenticator.auth_refresh_age = 1
"""


class Hub(Started):
    """A hub and what it asks; a context manager.

    Args:
        place: Where files and logs go.
        site: The campus; its identity provider's issuer is replaced.
        login: Who can log in.
        kubeconfig: Of the API server in which notebooks are made.
    """

    def __init__(self, place: Path, site: Site, login: LoginSpec, kubeconfig: Path) -> None:
        self.run = RunDir(place)
        self._kubeconfig = kubeconfig
        ports = free_ports(3)
        self.address = f"http://127.0.0.1:{ports[0]}"
        self.login = LoginSpec(
            address=IPv4Address("127.0.0.1"), host="localhost", client=login.client, page=login.page,
            domain=login.domain, people=login.people, port=ports[1], directory_port=ports[2],
        )  # fmt: skip
        self._site = site
        self._loop = asyncio.new_event_loop()
        self._services: list[asyncio.subprocess.Process] = []
        self._hub: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        run = self.run
        run.logs.mkdir(parents=True)
        certificates.ensure_authority(run.ca, run.ca_key, "test")
        identity.ensure()
        identity.ensure_secret(run)
        files = (run.path / "server.pem", run.path / "server.key")
        certificates.issue((run.ca, run.ca_key), [self.login.host], ["127.0.0.1"], *files)
        self._services = self._loop.run_until_complete(identity.start(run, self.login))
        self._write_configuration()
        environment = os.environ | {"KUBECONFIG": str(self._kubeconfig), "PYTHONPATH": str(READING.parents[4])}
        with (run.logs / "hub.log").open("wb") as output:
            self._hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(run.path / "configuration.py")],
                cwd=run.path, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._wait()

    def _write_configuration(self) -> None:
        secret = (self.run.path / SECRET).read_text()
        own = jupyterhub.values(
            self._site, self._site.machines, {"oidc-client-secret": secret}, {OIDC_CA_FILE: "given below"}
        )
        traits = own["hub"]["config"]["CampusAuthenticator"]
        traits["issuer"] = self.login.issuer
        (self.run.path / "lyceum_hub.py").write_text(own["hub"]["extraFiles"]["lyceum_hub.py"]["stringData"])
        [entry] = [entry for entry in load_catalog() if entry.name == "jupyterhub"]
        secrets = {"hub.config.JupyterHub.cookie_secret": "ab" * 32, "hub.config.CryptKeeper.keys": "cd" * 32}
        # The chart makes one for each service.
        secrets |= {f"hub.services.{name}.apiToken": "ef" * 32 for name in own["hub"].get("services", {})}
        given = {
            "reading": str(READING),
            "values": overlay(overlay(entry.values, own), {"cull": {"enabled": False}}),
            "secrets": secrets,
            "environment": {"PROXY_API_SERVICE_PORT": "1", "HUB_SERVICE_PORT": "1", "POD_NAMESPACE": "jupyterhub"},
            "address": self.address,
            "ca": str(self.run.ca),
        }
        (self.run.path / "given.json").write_text(json.dumps(given))
        (self.run.path / "configuration.py").write_text(CONFIGURATION.format(here=str(self.run.path)))

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self.run.logs / "hub.log"
        while time.monotonic() < deadline:
            assert self._hub is not None
            assert self._hub.poll() is None, f"the hub ended:\n{log.read_text()[-3000:]}"
            if self.is_healthy():
                return
            time.sleep(0.2)
        raise AssertionError(f"no hub within {START_SECONDS} s:\n{log.read_text()[-3000:]}")

    def is_healthy(self) -> bool:
        """Whether the hub answers."""
        try:
            return httpx.get(f"{self.address}/hub/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def stop_provider(self) -> None:
        """Ends the identity provider."""
        provider = self._services.pop()
        provider.send_signal(signal.SIGTERM)
        self._loop.run_until_complete(provider.wait())

    def leave_group(self, name: str, group: str) -> None:
        """Takes a person out of a group of the directory."""
        change = (
            f"dn: cn={group},ou=groups,{directory.BASE}\nchangetype: modify\n"
            f"delete: member\nmember: {directory.person_dn(name)}\n"
        )
        subprocess.run(
            ["/usr/sbin/slapmodify", "-f", str(self.run.path / "identity/slapd.conf")],
            input=change, text=True, check=True, capture_output=True,
        )  # fmt: skip

    def _stop(self) -> None:
        if self._hub:
            self._hub.terminate()
            self._hub.wait(30)
        for process in self._services:
            if process.returncode is None:
                process.terminate()
                self._loop.run_until_complete(process.wait())
        self._loop.close()


class Visitor:
    """Somebody with a browser, without the browser: follows redirects, fills forms, calls the hub's API."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub, self.name = hub, name
        tls = certificates.client_context(hub.run.ca)
        self.client = httpx.Client(verify=tls, timeout=30)
        self.answer = self._follow(self.client.get(f"{hub.address}/hub/oauth_login"))

    def _follow(self, answer: httpx.Response) -> httpx.Response:
        """Follows redirects; the page's address is the hub's, and a form of the provider is filled in."""
        while True:
            if "location" in answer.headers:
                target = str(answer.url.join(answer.headers["location"]))
                answer = self.client.get(target.replace(self._hub.login.page, self._hub.address))
            elif answer.url.path.startswith("/login/") and answer.is_success:
                fields = {"name": self.name, "password": directory.PASSWORD}
                answer = self.client.post(answer.url, data=fields)
            else:
                return answer

    def get(self, path: str) -> httpx.Response:
        """A page of the hub, without following redirects."""
        return self.client.get(f"{self._hub.address}/hub/{path}")

    def _token(self) -> str:
        [token] = re.findall(r'xsrf_token: "([^"]+)"', self.get("token").text)
        return str(token)

    def start_by_api(self, options: dict[str, Any] | None, server: str = "server") -> httpx.Response:
        """Asks the hub's API for a server."""
        url = f"{self._hub.address}/hub/api/users/{self.name}/{server}"
        body = {} if options is None else {"json": options}
        return self.client.post(url, headers={"X-XSRFToken": self._token()}, **body)  # type: ignore[arg-type]

    def start_by_form(self, profile: str, person: str | None = None) -> httpx.Response:
        """Sends the form of the page."""
        url = f"{self._hub.address}/hub/spawn/{person or self.name}"
        return self.client.post(url, params={"_xsrf": self._token()}, data={"profile": profile})
