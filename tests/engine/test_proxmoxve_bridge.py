"""Our bridge of the Proxmox provider speaks the language of the Python package that programs are written with."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.engine import Project
from toolchain import environment

pytestmark = pytest.mark.engine


def tokens_of_the_python_package() -> set[str]:
    spec = find_spec("pulumi_proxmoxve")
    assert spec and spec.origin
    files = Path(spec.origin).parent.rglob("*.py")
    found = [
        re.findall(r"super\(\w+, __self__\)\.__init__\(\s*'(proxmoxve:[^']+)'", file.read_text()) for file in files
    ]
    return {token for tokens in found for token in tokens}


def test_every_resource_of_the_python_package_is_a_resource_of_the_plugin(project: Project) -> None:
    plugin = environment.binary("pulumi-resource-proxmoxve")
    schema = json.loads(project.pulumi("package", "get-schema", str(plugin)).output)
    assert len(schema["resources"]) > 100
    assert tokens_of_the_python_package() - set(schema["resources"]) == set()
