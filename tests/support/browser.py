"""A person in a real browser: Debian's Chromium, driven by Playwright, through the door that `lab open` makes.

with open_door(project) as door, Person(project, door, "researcher", shots) as person:
    person.log_in()
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from lab.identity.directory import PASSWORD
from tests.support.ports import free_ports
from tests.support.project import Project
from toolchain import debian

HUB = "https://jupyter.lab.lyceum.internal"
LOGIN = "https://login.lab.lyceum.internal"
WAIT_MS = 240_000
"""Patience of every step: this machine does much else."""
TRIES, TRIES_PER_KERNEL = 20, 5


@dataclass(frozen=True)
class Door:
    """The way to a campus's pages: the port of `lab open`, and what drives browsers, once in a process."""

    port: int
    playwright: Playwright


@contextlib.contextmanager
def open_door(project: Project) -> Iterator[Door]:
    """`./lyceum lab open` in the background. The browser is installed if it is not there."""
    debian.install_missing(debian.BROWSER)
    [port] = free_ports(1)
    process = project.start("lab", "open", "--port", str(port))
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        with sync_playwright() as playwright:
            yield Door(port, playwright)
    finally:
        process.terminate()
        process.wait(30)


class Person:
    """Somebody with a browser of their own, which trusts the campus's CAs and nobody's refusal of them.

    Args:
        project: The project whose campus it is.
        door: From `open_door`.
        name: Login name.
        shots: Where screenshots go.
    """

    def __init__(self, project: Project, door: Door, name: str, shots: Path) -> None:
        self.name, self._shots, self._door = name, shots, door
        self._home = project.run / "browser"
        self._browser: Browser | None = None
        self._page: Page | None = None

    def __enter__(self) -> Self:
        """Starts the browser."""
        self._browser = self._door.playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox"],
            proxy={"server": f"http://127.0.0.1:{self._door.port}"},
            env={"HOME": str(self._home), "PATH": "/usr/bin:/bin"},
        )
        self._page = self._browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
        self._page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keeps a picture of what went wrong, and ends the browser."""
        if error is not None:
            with contextlib.suppress(Exception):
                self.shoot("failed")
        if self._browser:
            self._browser.close()

    @property
    def page(self) -> Page:
        """The open tab."""
        assert self._page is not None, "a person is there only inside its `with`"
        return self._page

    def shoot(self, what: str) -> None:
        """Takes a picture of the page."""
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"{self.name}-{what}.png")

    def log_in(self) -> None:
        """From the hub's front page through the provider's form back to the hub."""
        self.page.goto(f"{HUB}/")
        self.shoot("hub-front")
        self.page.locator("a[href*=oauth_login]").first.click()
        self.page.wait_for_url(f"{LOGIN}/**")
        self.shoot("login-form")
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{HUB}/**")
        self.page.wait_for_load_state()

    def offered_profiles(self) -> list[str]:
        """Names of the profiles on the page."""
        self.page.goto(f"{HUB}/hub/spawn")
        self.page.wait_for_load_state()
        self.shoot("profiles")
        return [str(one.get_attribute("value")) for one in self.page.locator("input[name=profile]").all()]

    def start_notebook(self, profile: str) -> None:
        """Chooses a profile, and waits until JupyterLab is there."""
        self.page.locator(f"input[name=profile][value='{profile}']").check(force=True)
        self.page.get_by_role("button", name="Start", exact=True).click()
        self.page.wait_for_load_state()
        self.shoot("starting")
        self.page.wait_for_url(f"{HUB}/user/**/lab**")
        self.page.wait_for_selector(".jp-Launcher")
        self.shoot("launcher")

    def run_cell(self, code: str, answer: str) -> str:
        """Runs a cell in a new notebook; returns the line of its output that holds `answer`.

        A cell that is run before its kernel is there is lost, though the page calls the kernel idle: it is run again, and
        after a while in another notebook.
        """
        output = self.page.locator(".jp-OutputArea-output", has_text=answer).first
        for attempt in range(TRIES):
            cell = self.page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
            if attempt % TRIES_PER_KERNEL == 0:
                self.page.goto(f"{HUB}/user/{self.name}/lab?reset")
                self.page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
                cell.fill(code)
                # What is typed before the editor has the focus is read as shortcuts.
                expect(cell).to_contain_text(code)
            cell.press("Control+Enter")
            with contextlib.suppress(PlaywrightTimeout):
                output.wait_for(timeout=WAIT_MS // TRIES)
                break
        expect(output).to_be_visible(timeout=1000)
        self.shoot("cell")
        return output.inner_text().strip()

    def ask_for_server(self, profile: str) -> int:
        """Asks the hub's API for a server, past the page; returns the status of the answer."""
        script = """async ([name, profile]) => {
            const token = window.jhdata.xsrf_token;
            const answer = await fetch(`/hub/api/users/${name}/server`, {
                method: 'POST', headers: {'X-XSRFToken': token, 'Content-Type': 'application/json'},
                body: JSON.stringify({profile}),
            });
            return answer.status;
        }"""
        self.page.goto(f"{HUB}/hub/home")
        return int(self.page.evaluate(script, [self.name, profile]))

    def log_out(self) -> None:
        """At the hub and at the provider."""
        self.page.goto(f"{HUB}/hub/logout")
        self.page.get_by_role("button", name="Log out").click()
        self.page.wait_for_url(f"{HUB}/**")
        self.page.wait_for_load_state()
        self.shoot("logged-out")
