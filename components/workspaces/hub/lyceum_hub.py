"""What the hub decides itself: who stays logged in, and which profiles a person may start.

Runs in the hub's pod, not in Pulumi: the chart mounts this file beside its own configuration (`hub.extraFiles`), and one
line of `hub.extraConfig` calls `configure` with the data under `custom.lyceum`. Written for JupyterHub 5, KubeSpawner 7
and OAuthenticator 17.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

from jupyterhub.utils import maybe_future
from kubespawner import KubeSpawner
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthLoginHandler
from tornado import web
from traitlets import Dict, Integer, List, Unicode

NO_PROFILE = "No notebook profile is open to your groups. Ask the administrators of the campus."
NO_PROVIDER = "This campus has no identity provider yet, so nobody can log in."
REFUSED = "This profile or choice is not open to you."
KUEUE_GATES = "kueue.x-k8s.io/"
"""Prefix of the scheduling gates with which Kueue holds a pod until it is its turn."""
Profile = dict[str, Any]
"""An entry of the chart's `singleuser.profileList`; `groups`, if not empty, are those that may start it."""


class CampusLoginHandler(OAuthLoginHandler):
    """Sends people to the provider, whose addresses may have to be read first."""

    async def get(self) -> None:
        """Redirects to the provider's form."""
        await self.authenticator.discover()
        super().get()


class CampusAuthenticator(GenericOAuthenticator):
    """Logs people in at an OpenID Connect provider, and asks at every refresh whether they are still admitted."""

    login_handler = CampusLoginHandler

    issuer = Unicode(config=True, help="Issuer whose addresses are read from its discovery document.")
    endpoints = Dict(config=True, help="The addresses, by the names of a discovery document; empty: they are read.")
    after_logout_url = Unicode(config=True, help="Page to which the provider leads after a log-out.")
    silent_provider_seconds = Integer(3600, config=True, help="How long people stay logged in while nobody answers.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._is_told = False
        self._silent_since: dict[str, float] = {}

    async def discover(self) -> None:
        """Reads the provider's addresses, once (OpenID Connect Discovery 1.0, section 4).

        Not at the start: a hub must start, and serve those who are logged in, while the provider is away.

        Raises:
            web.HTTPError: 502, the document is another issuer's; 503, the campus has no provider.
        """
        if self._is_told:
            return
        if not self.client_id:
            raise web.HTTPError(503, NO_PROVIDER)
        found = self.endpoints or await self._read_discovery(self.issuer.rstrip("/"))
        self.token_url = found["token_endpoint"]
        if not self.userdata_from_id_token:
            self.userdata_url = found["userinfo_endpoint"]
        if ending := found.get("end_session_endpoint"):
            # It leads back to the hub (OpenID Connect RP-Initiated Logout 1.0, section 2).
            query = {"client_id": self.client_id, "post_logout_redirect_uri": self.after_logout_url}
            self.logout_redirect_url = f"{ending}?{urlencode(query)}"
        self.authorize_url = found["authorization_endpoint"]
        self._is_told = True

    async def _read_discovery(self, issuer: str) -> dict[str, Any]:
        address = f"{issuer}/.well-known/openid-configuration"
        found: dict[str, Any] = await self.httpfetch(address, label="reading the provider's addresses")
        if str(found["issuer"]).rstrip("/") != issuer:
            raise web.HTTPError(502, f"The identity provider at {issuer} says that it is {found['issuer']}.")
        return found

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> bool | dict[str, Any]:
        """Renews tokens and groups; ends the session of who is no longer admitted.

        OAuthenticator renews the groups and does not ask whether they still admit, and it fails while nobody answers.
        """
        try:
            await self.discover()
            fresh: bool | dict[str, Any] = await super().refresh_user(user, handler, **kwargs)
        except Exception as error:
            silent = time.monotonic() - self._silent_since.setdefault(user.name, time.monotonic())
            if silent > self.silent_provider_seconds:
                raise
            self.log.warning("%s stays logged in: the provider does not answer: %r", user.name, error)
            return True
        self._silent_since.pop(user.name, None)
        if isinstance(fresh, dict) and not await maybe_future(self.check_allowed(user.name, fresh)):
            self.log.warning("%s is in no admitted group any more", user.name)
            return False
        return fresh


def permitted_profiles(profiles: list[Profile], groups: set[str]) -> list[Profile]:
    """The profiles that a member of these groups may start."""
    return [one for one in profiles if not one.get("groups") or groups & set(one["groups"])]


class CampusSpawner(KubeSpawner):
    """Starts permitted profiles and nothing else; waiting in a queue is no part of the time that a start may take."""

    profiles = List(Dict(), config=True, help="Every profile of the site, with the groups that may start it.")
    admitted_start_seconds = Integer(
        1200,
        config=True,
        help="Seconds in which a pod must run once no queue holds it; start_timeout is the whole wait.",
    )

    def permitted_profiles(self) -> list[Profile]:
        """The profiles of this server's owner."""
        return permitted_profiles(self.profiles, {group.name for group in self.user.groups})

    async def _render_options_form_dynamically(self, current_spawner: "CampusSpawner") -> str:
        """Without a profile KubeSpawner would show a start button and nothing to choose."""
        if not current_spawner.permitted_profiles():
            return f'<p role="alert">{NO_PROFILE}</p>'
        page: str = await super()._render_options_form_dynamically(current_spawner)
        return page

    async def load_user_options(self) -> None:
        """Runs before every start, however it was requested: by page, form, query, REST call, for a named server.

        KubeSpawner starts the chart's sample image where there is no profile, and answers 500 to a hidden one.

        Raises:
            web.HTTPError: 403, no profile is open to the owner, or not this one.
        """
        if not self.permitted_profiles():
            raise web.HTTPError(403, NO_PROFILE)
        try:
            await super().load_user_options()
        except (ValueError, KeyError, TypeError, StopIteration):
            self.log.warning("%s asked for %r, which is not open", self.user.name, self.user_options)
            raise web.HTTPError(403, REFUSED) from None

    def _is_admitted(self) -> bool:
        """Whether the pod exists and no queue holds it."""
        pod = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}") if self.pod_reflector else None
        gates = (pod["spec"].get("schedulingGates") or []) if pod else []
        return pod is not None and not any(gate["name"].startswith(KUEUE_GATES) for gate in gates)

    async def _start(self) -> Any:
        """KubeSpawner's start with a second clock, which runs from the admission."""
        work = asyncio.ensure_future(super()._start())
        try:
            while not work.done() and not self._is_admitted():
                await asyncio.wait({work}, timeout=1)
            return await asyncio.wait_for(work, self.admitted_start_seconds)
        except TimeoutError as error:
            error.jupyterhub_message = (  # type: ignore[attr-defined]  # JupyterHub shows it on the page
                f"The notebook did not start within {self.admitted_start_seconds} s after it was its turn."
            )
            raise
        finally:
            work.cancel()


def configure(c: Any, data: dict[str, Any]) -> None:
    """Sets what the chart has no value for.

    Args:
        c: The hub's configuration.
        data: `custom.lyceum`: `profiles`, `start-seconds`, and whether people log in at a provider (`provider`).
    """
    if data["provider"]:
        c.JupyterHub.authenticator_class = CampusAuthenticator
    c.JupyterHub.spawner_class = CampusSpawner
    # With the chart's 0 a caller of the REST API would read 202 before the refusal.
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}
    c.CampusSpawner.profiles = data["profiles"]
    c.CampusSpawner.admitted_start_seconds = data["start-seconds"]
    c.KubeSpawner.profile_list = CampusSpawner.permitted_profiles
