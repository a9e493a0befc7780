"""Starts the directory and the identity provider in the campus's network."""

import asyncio
import json
import shutil
from pathlib import Path

from lab.contracts import LoginSpec
from lab.identity import directory, packages
from lab.rundir import RunDir

HERE = Path(__file__).parent


def missing_parts() -> list[str]:
    """What is not installed, by the names of packages; empty where people can log in."""
    absent = [] if shutil.which("slapd", path="/usr/sbin:/usr/bin") and directory.SCHEMAS.is_dir() else ["slapd"]
    return absent + ([] if packages.is_installed() else ["oidc-provider"])


def describe_people(spec: LoginSpec) -> str:
    """Who can log in, in a line for each."""
    lines = [f"  {one.name:<11} {', '.join(one.groups) or 'no group'}" for one in spec.people]
    return "\n".join([f"People, with the password `{directory.PASSWORD}`:", *lines])


def provider_settings(run: RunDir, spec: LoginSpec) -> dict[str, str | int]:
    """What provider.mjs reads."""
    return {
        "issuer": spec.issuer,
        "address": str(spec.address),
        "port": spec.port,
        "certificate": str(run.path / "server.pem"),
        "key": str(run.path / "server.key"),
        "directory": directory.url(spec.directory_port),
        "base": directory.BASE,
        "client": spec.client,
        "secretFile": str(run.path / packages.SECRET),
        "page": spec.page,
    }


async def start(run: RunDir, spec: LoginSpec) -> list[asyncio.subprocess.Process]:
    """Starts both; at each start the directory has the site's people.

    Raises:
        RuntimeError: the directory cannot be filled.
    """
    place = run.path / "identity"
    shutil.rmtree(place, ignore_errors=True)
    (place / "db").mkdir(parents=True, mode=0o700)
    configuration, content = place / "slapd.conf", place / "people.ldif"
    configuration.write_text(directory.build_configuration(place))
    content.write_text(directory.build_ldif(spec.people, spec.domain))
    await _fill(configuration, content)
    settings = place / "provider.json"
    settings.write_text(json.dumps(provider_settings(run, spec)))
    # Node finds packages beside the module that imports them.
    (place / "node_modules").symlink_to(packages.place() / "node_modules")
    shutil.copyfile(HERE / "provider.mjs", place / "provider.mjs")
    slapd = ["slapd", "-f", str(configuration), "-h", directory.url(spec.directory_port), "-d", "0"]
    node = [str(packages.node()), str(place / "provider.mjs"), str(settings)]
    return [await _spawn(run, "directory", slapd), await _spawn(run, "login", node)]


async def _fill(configuration: Path, content: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "slapadd", "-f", str(configuration), "-l", str(content),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the directory cannot be filled: {errors.decode().strip()}")


async def _spawn(run: RunDir, name: str, command: list[str]) -> asyncio.subprocess.Process:
    with (run.logs / f"{name}.log").open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
