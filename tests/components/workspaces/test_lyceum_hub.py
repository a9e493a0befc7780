"""The hub's own module, with the classes of the real JupyterHub, KubeSpawner and OAuthenticator."""

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kubespawner import KubeSpawner
from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from components.workspaces.hub import lyceum_hub
from components.workspaces.hub.lyceum_hub import CampusAuthenticator, CampusSpawner
from tests.support.spawner import make_spawner

CPU = {"display_name": "CPU only", "slug": "cpu", "kubespawner_override": {"image": "quay.io/jupyter/cpu:1"}}
GPU = {
    "display_name": "A GPU",
    "slug": "gpu",
    "groups": ["researchers"],
    "kubespawner_override": {
        "image": "quay.io/jupyter/gpu:1",
        "extra_labels": {"kueue.x-k8s.io/queue-name": "notebooks"},
    },
}
STUDENTS_CPU = CPU | {"groups": ["students"]}
DISCOVERY = {
    "issuer": "https://login.campus.example/",
    "authorization_endpoint": "https://login.campus.example/auth",
    "token_endpoint": "https://login.campus.example/token",
    "userinfo_endpoint": "https://login.campus.example/me",
    "end_session_endpoint": "https://login.campus.example/end",
}


def configured(profiles: list[dict[str, Any]], *, provider: bool = True) -> Config:
    """The hub's configuration after `configure`."""
    c = Config()
    # What the chart sets before: its default labels, which open the network policy of the hub.
    c.KubeSpawner.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
    c.KubeSpawner.profile_list = []
    lyceum_hub.configure(c, {"profiles": profiles, "start-seconds": 1, "provider": provider})
    return c


def server_of(*groups: str, profiles: list[dict[str, Any]], asked: dict[str, Any] | None = None) -> CampusSpawner:
    """A person's server, as the hub makes one for a request."""
    return make_spawner(configured(profiles), groups, asked or {})


def loaded(spawner: CampusSpawner) -> CampusSpawner:
    """The server with the options of its profile, or the refusal."""
    asyncio.run(spawner.load_user_options())
    return spawner


def refusal(spawner: CampusSpawner) -> web.HTTPError:
    with pytest.raises(web.HTTPError) as refused:
        loaded(spawner)
    return refused.value


def test_a_profile_of_ones_groups_starts() -> None:
    server = loaded(server_of("researchers", profiles=[CPU, GPU], asked={"profile": "gpu"}))

    assert server.image == "quay.io/jupyter/gpu:1"


def test_a_queue_is_added_to_the_charts_labels() -> None:
    """Without the chart's own label the network policy shuts the notebook out of the hub."""
    server = loaded(server_of("researchers", profiles=[CPU, GPU], asked={"profile": "gpu"}))

    assert server.extra_labels == {
        "hub.jupyter.org/network-access-hub": "true",
        "kueue.x-k8s.io/queue-name": "notebooks",
    }


@pytest.mark.parametrize("asked", ["gpu", ["gpu"], 7, {"slug": "gpu"}, "none-of-that-name"])
def test_a_hidden_profile_is_refused_however_it_is_asked_for(asked: object) -> None:
    """P2: KubeSpawner raises ValueError, which a browser sees as an error of the server."""
    refused = refusal(server_of("students", profiles=[CPU, GPU], asked={"profile": asked}))

    assert (refused.status_code, refused.log_message) == (403, lyceum_hub.REFUSED)


def test_without_a_request_the_first_permitted_profile_starts() -> None:
    assert loaded(server_of("students", profiles=[GPU, CPU])).image == "quay.io/jupyter/cpu:1"


def test_nobody_starts_a_server_without_a_profile() -> None:
    """K1.6, P3: KubeSpawner takes an empty list for "no profile needed" and starts the chart's sample image."""
    refused = refusal(server_of("guests", profiles=[STUDENTS_CPU, GPU]))

    assert (refused.status_code, refused.log_message) == (403, lyceum_hub.NO_PROFILE)


def test_options_beside_the_profile_change_nothing() -> None:
    asked = {"profile": "cpu", "image": "evil:1", "kubespawner_override": {"image": "evil:1"}, "cmd": ["evil"]}
    server = loaded(server_of("students", profiles=[CPU, GPU], asked=asked))

    assert (server.image, server.cmd) == ("quay.io/jupyter/cpu:1", None)


def test_the_page_offers_what_may_start() -> None:
    server = server_of("students", profiles=[CPU, GPU])
    page = asyncio.run(server._render_options_form_dynamically(server))

    assert 'value="cpu"' in page
    assert 'value="gpu"' not in page


def test_who_has_no_profile_reads_why() -> None:
    """P9: KubeSpawner shows a start button and nothing to choose."""
    server = server_of("guests", profiles=[GPU])

    assert lyceum_hub.NO_PROFILE in asyncio.run(server._render_options_form_dynamically(server))


def starting(monkeypatch: pytest.MonkeyPatch, *, gates: list[str], ready_after: float) -> CampusSpawner:
    """A server whose pod has these scheduling gates for ever, and whose start takes so long."""
    spawner = server_of("students", profiles=[CPU])
    pod = {"spec": {"schedulingGates": [{"name": name} for name in gates]}}
    reflector = SimpleNamespace(pods={f"{spawner.namespace}/{spawner.pod_name}": pod})
    monkeypatch.setattr(CampusSpawner, "pod_reflector", reflector)

    async def start(self: CampusSpawner) -> str:
        await asyncio.sleep(ready_after)
        return "http://10.42.0.9:8888"

    monkeypatch.setattr(KubeSpawner, "_start", start)
    return spawner


def test_waiting_in_a_queue_takes_no_time_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: the start may take one second here, and the wait took longer."""
    server = starting(monkeypatch, gates=["kueue.x-k8s.io/admission"], ready_after=1.5)

    assert asyncio.run(server._start()) == "http://10.42.0.9:8888"


def test_a_start_that_is_not_waiting_is_given_up_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    server = starting(monkeypatch, gates=[], ready_after=60)

    with pytest.raises(TimeoutError) as given_up:
        asyncio.run(server._start())
    assert "did not start within 1 s" in given_up.value.jupyterhub_message  # type: ignore[attr-defined]


def test_another_schedulers_gate_is_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    server = starting(monkeypatch, gates=["example.com/other"], ready_after=60)

    with pytest.raises(TimeoutError):
        asyncio.run(server._start())


def test_the_hub_refuses_before_it_answers() -> None:
    """P2: with the chart's 0 a REST call reads 202 for a start that was refused."""
    assert configured([CPU]).JupyterHub.tornado_settings == {"slow_spawn_timeout": 1}


def test_without_a_provider_the_charts_authenticator_stays() -> None:
    assert "authenticator_class" not in configured([CPU], provider=False).JupyterHub
    assert configured([CPU]).JupyterHub.authenticator_class is CampusAuthenticator


Answer = dict[str, Any] | Exception


def provider(answer: Callable[[str], Answer], **traits: Any) -> CampusAuthenticator:
    """The authenticator of a hub whose requests to the provider are answered by path."""

    class Client:
        async def fetch(self, request: Any, **_: Any) -> Any:
            found = answer(request.url.removeprefix("https://login.campus.example"))
            if isinstance(found, Exception):
                raise found
            return SimpleNamespace(body=json.dumps(found).encode())

    settings = {
        "client_id": "lyceum",
        "client_secret": "s",
        "issuer": "https://login.campus.example",
        "after_logout_url": "https://jupyter.campus.example/hub/",
        "username_claim": "preferred_username",
        "manage_groups": True,
        "auth_state_groups_key": "oauth_user.groups",
        "allowed_groups": {"students"},
        "admin_groups": {"jupyter_admin"},
        "enable_auth_state": True,
        "http_client": Client(),
    }
    return CampusAuthenticator(**(settings | traits))


class Person:
    """A logged-in user of the hub, as far as a refresh asks."""

    name = "student"

    async def get_auth_state(self) -> dict[str, Any]:
        return {"token_response": {"access_token": "a", "token_type": "bearer"}}


def refreshed(authenticator: CampusAuthenticator) -> bool | dict[str, Any]:
    return asyncio.run(authenticator.refresh_user(Person()))


def claims(*groups: str) -> Callable[[str], Answer]:
    """A provider that answers these groups."""

    def answer(path: str) -> Answer:
        if path.startswith("/.well-known/"):
            return DISCOVERY
        assert path == "/me"
        return {"preferred_username": "student", "groups": list(groups)}

    return answer


def test_the_providers_addresses_are_read_from_its_issuer() -> None:
    """OAuthenticator 17 reads no discovery document."""
    authenticator = provider(claims("students"))
    asyncio.run(authenticator.discover())

    assert authenticator.authorize_url == "https://login.campus.example/auth"
    assert (authenticator.token_url, authenticator.userdata_url) == (
        "https://login.campus.example/token",
        "https://login.campus.example/me",
    )
    assert authenticator.logout_redirect_url == (
        "https://login.campus.example/end?client_id=lyceum"
        "&post_logout_redirect_uri=https%3A%2F%2Fjupyter.campus.example%2Fhub%2F"
    )


def test_another_issuers_document_is_refused() -> None:
    authenticator = provider(lambda path: DISCOVERY | {"issuer": "https://evil.example"})

    with pytest.raises(web.HTTPError) as refused:
        asyncio.run(authenticator.discover())
    assert refused.value.status_code == 502
    assert not authenticator.authorize_url, "nobody is sent there"


def test_given_addresses_are_used_as_they_are() -> None:
    given = {key: value for key, value in DISCOVERY.items() if key not in ("issuer", "end_session_endpoint")}
    authenticator = provider(AssertionError, endpoints=given)
    asyncio.run(authenticator.discover())

    assert (authenticator.authorize_url, authenticator.logout_redirect_url) == ("https://login.campus.example/auth", "")


def test_claims_of_the_id_token_need_no_userinfo() -> None:
    """The two exclude each other in OAuthenticator."""
    authenticator = provider(claims(), userdata_from_id_token=True)
    asyncio.run(authenticator.discover())

    assert (authenticator.userdata_url, authenticator.token_url) == ("", "https://login.campus.example/token")


def test_a_campus_without_a_provider_says_so() -> None:
    with pytest.raises(web.HTTPError) as refused:
        asyncio.run(CampusAuthenticator().discover())
    assert refused.value.log_message == lyceum_hub.NO_PROVIDER


def test_a_refresh_brings_the_groups_of_today() -> None:
    found = refreshed(provider(claims("students", "researchers")))

    assert isinstance(found, dict)
    assert found["groups"] == ["researchers", "students"]


def test_who_left_every_admitted_group_is_logged_out() -> None:
    """P3: OAuthenticator renews the groups and never asks again whether they admit."""
    assert refreshed(provider(claims("guests"))) is False


def test_a_silent_provider_logs_nobody_out() -> None:
    """P7: OAuthenticator fails, and every page with it."""
    assert refreshed(provider(lambda path: HTTPClientError(599, "timed out"))) is True


def test_a_provider_that_stays_silent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = provider(lambda path: HTTPClientError(599, "timed out"), silent_provider_seconds=60)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    assert refreshed(authenticator) is True
    now[0] += 59
    assert refreshed(authenticator) is True
    now[0] += 2
    with pytest.raises(HTTPClientError):
        refreshed(authenticator)


def test_an_answer_ends_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = [False]
    silent = HTTPClientError(599, "timed out")
    authenticator = provider(lambda path: claims("students")(path) if heard[0] else silent, silent_provider_seconds=60)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    refreshed(authenticator)
    heard[0] = True
    assert isinstance(refreshed(authenticator), dict)
    heard[0] = False
    now[0] += 120
    assert refreshed(authenticator) is True, "it is counted from the last answer"
