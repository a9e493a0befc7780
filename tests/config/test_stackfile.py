"""A stack file holds a site, a stage and secrets; nothing in it is readable that should not be."""

from pathlib import Path

import pytest

from config.stackfile import validate_stack_file, validate_stack_files

GOOD = "config:\n  lyceum:site: lab\n  lyceum:stage: alpha\n"


def test_the_stacks_of_the_project_have_no_mistake() -> None:
    assert validate_stack_files() == []


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (
            GOOD + "  lyceum:proxmox-token: abc\n",
            "contains a secret in plain text; remove it, create a new secret, and run `./lyceum secrets set lab proxmox-token`",
        ),
        (
            GOOD.replace("alpha", "aplha"),
            "is not one of alpha, alpha2, beta, beta2, all; did you mean `alpha`?",
        ),
        (
            GOOD + "  lyceum:stge: all\n",
            "is not a setting here; did you mean `stage`?",
        ),
        (GOOD + "confg: {}\n", "is not a key of a stack file; did you mean `config`?"),
        (
            "encryptionsalt: v1:a\n",
            "is missing; add `lyceum:site` and `lyceum:stage` below it",
        ),
    ],
)
def test_a_mistake_in_a_stack_file_is_reported(text: str, reported: str, tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    assert [f"{finding.rule}; {finding.remedy}" for finding in validate_stack_file(file)] == [reported]


def test_an_encrypted_secret_is_as_it_should_be(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(GOOD + "  lyceum:seed:\n    secure: v1:abc:def\n")
    assert validate_stack_file(file) == []
