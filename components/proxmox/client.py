"""Asks Proxmox what its Pulumi provider cannot ask, with nothing but the standard library.

    image NODE STORAGE FILE URL [SHA512]     prints the volume id, downloading the image if it is missing
    host-key NODE VMID                       prints the machine's SSH host key, read by its guest agent

Environment: PVE_ENDPOINT, PVE_TOKEN (`user@realm!id=secret`), PVE_CA (a CA file, or empty for the public ones).
The image is no `download.File` resource because taking one back needs Datastore.Allocate, which may delete any volume.
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

HOST_KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"
BOOT_SECONDS = 300
"""How long a machine may take from power-on to an answering guest agent."""
DOWNLOAD_SECONDS = 1800


class PveError(Exception):
    """Proxmox refused, or did not answer; the text says what to do."""


class Pve:
    """A Proxmox API token at work, over verified TLS."""

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
            raise PveError(f"{method} /{path}: {error.code} {_reason(error)}") from None
        except (OSError, HTTPException, ValueError) as error:
            # A proxy that restarts cuts the connection, or answers with a page of its own.
            raise PveError(f"{self._base} does not answer: {getattr(error, 'reason', None) or error}") from None


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error).get("message") or error.reason).strip()
    except ValueError:
        return str(error.reason)


def wait_for(what: str, seconds: float, attempt: Callable[[], str | None]) -> str:
    """Tries once a second until `attempt` gives a value; says every ten seconds what it waits for.

    Raises:
        PveError: the time is over; the text holds the last reason.
    """
    start, said, reason = time.monotonic(), 0, ""
    while (passed := time.monotonic() - start) < seconds:
        try:
            if value := attempt():
                return value
        except PveError as error:
            reason = str(error)
        if int(passed) // 10 > said:
            said = int(passed) // 10
            sys.stderr.write(f"waiting for {what}: {passed:.0f} s of {seconds:.0f} s; {reason}\n")
            sys.stderr.flush()
        time.sleep(1)
    raise PveError(f"{what} did not come within {seconds:.0f} s: {reason}")


def image(pve: Pve, node: str, storage: str, name: str, url: str, sha512: str = "") -> str:  # noqa: PLR0917 - argv
    """Makes sure that the storage holds the image; returns its volume id."""
    volume = f"{storage}:import/{name}"
    content = f"nodes/{node}/storage/{storage}/content"
    if volume in {entry["volid"] for entry in pve.call("GET", content, content="import")}:
        return volume
    checksum = {"checksum": sha512, "checksum-algorithm": "sha512"} if sha512 else {}
    task = pve.call(
        "POST", f"nodes/{node}/storage/{storage}/download-url", content="import", filename=name, url=url, **checksum
    )

    def finished() -> str | None:
        status = pve.call("GET", f"nodes/{node}/tasks/{quote(task, safe='')}/status")
        return str(status["exitstatus"]) if status["status"] != "running" else None

    if (result := wait_for(f"{node} to download {url}", DOWNLOAD_SECONDS, finished)) != "OK":
        raise PveError(f"{node} could not download {url}: {result}; the task's log is in Proxmox under {task}")
    return volume


def host_key(pve: Pve, node: str, vmid: str) -> str:
    """Reads the machine's host key through its guest agent, so that no SSH connection is ever trusted on first use."""

    def read() -> str | None:
        answer = pve.call("GET", f"nodes/{node}/qemu/{vmid}/agent/file-read", file=HOST_KEY_FILE)
        fields = str(answer["content"]).split()
        return " ".join(fields[:2]) if len(fields) >= 2 else None

    what = f"the guest agent of VM {vmid} on {node} (is qemu-guest-agent in the image? look at the VM's console)"
    return wait_for(what, BOOT_SECONDS, read)


def main(arguments: list[str]) -> int:
    """Runs one command; an error is one line on stderr and exit code 1."""
    pve = Pve(os.environ["PVE_ENDPOINT"], os.environ["PVE_TOKEN"], os.environ.get("PVE_CA"))
    commands: dict[str, Callable[..., str]] = {"image": image, "host-key": host_key}
    try:
        sys.stdout.write(commands[arguments[0]](pve, *arguments[1:]))
    except PveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
