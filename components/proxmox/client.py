"""Client for the parts of the Proxmox API that the Pulumi provider does not cover; needs only the standard library.

    image NODE STORAGE FILE URL [SHA512]     prints the volume id, downloading the image if it is missing
    host-key NODE VMID                       prints the machine's SSH host key, read by its guest agent

Environment: PVE_ENDPOINT, PVE_TOKEN (`user@realm!id=secret`), PVE_CA (a CA file, or empty for the public ones).
The image is not a `download.File` resource because deleting one needs Datastore.Allocate, which may delete any volume.
"""

import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from config.errors import LyceumError

HOST_KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"
BOOT_SECONDS = 300
"""Limit from power-on until the guest agent answers."""
DOWNLOAD_SECONDS = 1800


class PveError(LyceumError):
    """Proxmox refused, or did not answer.

    Attributes:
        status: HTTP status of its answer; None where there was none.
        reason: Proxmox's own words, without the call that they answer; empty where it did not answer.
    """

    def __init__(self, message: str, *, status: int | None = None, reason: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status, self.reason = status, reason

    @classmethod
    def refused(cls, method: str, path: str, status: int, reason: str) -> "PveError":
        """The API answered a call with an error."""
        return cls(f"{method} /{path}: {status} {reason}", status=status, reason=reason)


class Pve:
    """The Proxmox API, called with a token over verified TLS."""

    def __init__(self, endpoint: str, token: str, ca_file: str | None) -> None:
        self._base = endpoint.rstrip("/") + "/api2/json/"
        self._token = token
        self._tls = ssl.create_default_context(cafile=ca_file or None)

    def call(self, method: str, path: str, **parameters: str) -> Any:
        """Calls the API and returns `data`.

        Raises:
            PveError: Proxmox answered with an error, or could not be reached.
        """
        query = urlencode(parameters)
        url = self._base + path + (f"?{query}" if query and method == "GET" else "")
        body = query.encode() if method != "GET" else None
        request = Request(url, data=body, method=method, headers={"Authorization": f"PVEAPIToken={self._token}"})
        try:
            with urlopen(request, context=self._tls, timeout=30) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise PveError.refused(method, path, error.code, _error_message(error)) from None
        except (OSError, HTTPException, ValueError) as error:
            # A restarting proxy cuts the connection, or answers with an HTML page.
            raise PveError(f"{self._base} does not answer: {getattr(error, 'reason', None) or error}") from None


def _error_message(error: HTTPError) -> str:
    try:
        return str(json.load(error).get("message") or error.reason).strip()
    except ValueError:
        return str(error.reason)


def wait_for_value(what: str, seconds: float, attempt: Callable[[], str | None]) -> str:
    """Calls `attempt` once a second until it returns a value; reports every ten seconds what it waits for.

    Raises:
        PveError: no value within the time; the text has the last error.
    """
    start, reported, reason = time.monotonic(), 0, ""
    while (passed := time.monotonic() - start) < seconds:
        try:
            if value := attempt():
                return value
        except PveError as error:
            reason = str(error)
        if int(passed) // 10 > reported:
            reported = int(passed) // 10
            sys.stderr.write(f"waiting for {what}: {passed:.0f} s of {seconds:.0f} s; {reason}\n")
            sys.stderr.flush()
        time.sleep(1)
    raise PveError(f"timed out after {seconds:.0f} s waiting for {what}: {reason}")


def ensure_image(pve: Pve, node: str, storage: str, name: str, url: str, sha512: str = "") -> str:  # noqa: PLR0917 - argv
    """Downloads the image to the storage if it is missing; returns its volume id."""
    volume = f"{storage}:import/{name}"
    content = f"nodes/{node}/storage/{storage}/content"
    if volume in {entry["volid"] for entry in pve.call("GET", content, content="import")}:
        return volume
    checksum = {"checksum": sha512, "checksum-algorithm": "sha512"} if sha512 else {}
    task = pve.call(
        "POST", f"nodes/{node}/storage/{storage}/download-url", content="import", filename=name, url=url, **checksum
    )

    def exit_status() -> str | None:
        status = pve.call("GET", f"nodes/{node}/tasks/{quote(task, safe='')}/status")
        return str(status["exitstatus"]) if status["status"] != "running" else None

    if (result := wait_for_value(f"{node} to download {url}", DOWNLOAD_SECONDS, exit_status)) != "OK":
        raise PveError(f"{node} could not download {url}: {result}; the task's log is in Proxmox under {task}")
    return volume


def read_host_key(pve: Pve, node: str, vmid: str) -> str:
    """Reads the machine's SSH host key through its guest agent, so that no connection trusts a key on first use."""

    def read_key() -> str | None:
        answer = pve.call("GET", f"nodes/{node}/qemu/{vmid}/agent/file-read", file=HOST_KEY_FILE)
        fields = str(answer["content"]).split()
        return " ".join(fields[:2]) if len(fields) >= 2 else None

    what = f"the guest agent of VM {vmid} on {node} (is qemu-guest-agent in the image? look at the VM's console)"
    return wait_for_value(what, BOOT_SECONDS, read_key)


def main(arguments: list[str]) -> int:
    """Runs one command; an error is one line on standard error and exit code 1."""
    pve = Pve(os.environ["PVE_ENDPOINT"], os.environ["PVE_TOKEN"], os.environ.get("PVE_CA"))
    commands: dict[str, Callable[..., str]] = {"image": ensure_image, "host-key": read_host_key}
    try:
        sys.stdout.write(commands[arguments[0]](pve, *arguments[1:]))
    except PveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
