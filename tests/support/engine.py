"""A throw-away Pulumi project with a file backend, driven by the real command line."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import environment

TIMEOUT_S = 180


@dataclass(frozen=True)
class Run:
    """How one command of pulumi ended: exit code, and what it wrote to both streams."""

    code: int
    output: str


class Project:
    """A project in a directory of its own, with the stack `test`."""

    def __init__(self, directory: Path, variables: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        (directory / "state").mkdir(parents=True)
        self._variables = {
            **environment.engine_environment(),
            "PULUMI_BACKEND_URL": f"file://{directory / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "for tests",
            **(variables or {}),
        }
        (directory / "Pulumi.yaml").write_text(
            json.dumps({"name": "test", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}})
        )
        self.program("")
        self.pulumi("stack", "init", "test")

    def program(self, text: str) -> None:
        """Replaces the program."""
        (self.directory / "__main__.py").write_text(textwrap.dedent(text))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Starts a command of pulumi, in a process group of its own, its two streams in one pipe."""
        return subprocess.Popen(
            [environment.binary("pulumi"), *arguments, "--non-interactive"],
            cwd=self.directory,
            env=os.environ | self._variables | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pulumi(self, *arguments: str, fails: bool = False, **variables: str) -> Run:
        """Runs a command of pulumi to its end and insists on how it ends."""
        with self.start(*arguments, **variables) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(
                    f"pulumi {' '.join(arguments)} did not end within {TIMEOUT_S} s:\n{process.communicate()[0]}"
                ) from None
        assert (process.returncode != 0) is fails, (
            f"pulumi {' '.join(arguments)} ended with {process.returncode}:\n{output}"
        )
        return Run(process.returncode, output)

    def up(self, *, fails: bool = False, **variables: str) -> Run:
        """Brings the stack to what the program says."""
        return self.pulumi("up", "--yes", "--skip-preview", fails=fails, **variables)

    def preview(self, *, fails: bool = False) -> Run:
        """Says what `up` would do."""
        return self.pulumi("preview", fails=fails)

    def destroy(self) -> Run:
        """Removes every resource."""
        return self.pulumi("destroy", "--yes", "--skip-preview")

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in the clear."""
        return dict(json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").output))

    def state(self) -> str:
        """The stack's state as it lies on disk: secrets encrypted."""
        return self.pulumi("stack", "export").output
