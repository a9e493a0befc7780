"""The scripts of a token rotation, run by bash."""

from pathlib import Path

import pytest

from config.hosts import Role
from config.key_derivation import token_hash
from config.tokens import TokenKind
from ops.credentials import rotation_scripts
from ops.credentials.rotation_plan import TokenStatus
from tests.support.machine import FakeMachine

OLD, NEW = "0" * 64, "1" * 64
TOKEN, AGENT_TOKEN = "/etc/rancher/k3s/token", "/etc/rancher/k3s/agent-token"
PASSWD = "/var/lib/rancher/k3s/server/cred/passwd"


@pytest.fixture
def server(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path)
    machine.write(TOKEN, f"K10ca::server:{OLD}\n")
    machine.write(AGENT_TOKEN, f"{OLD}\n")
    machine.write("/var/lib/rancher/k3s/server/token", f"K10ca::server:{OLD}\n")
    machine.write("/var/lib/rancher/k3s/server/agent-token", f"K10ca::node:{OLD}\n")
    machine.write(PASSWD, "tokens")
    machine.set_state("active-k3s")
    return machine


def seen(machine: FakeMachine, kind: TokenKind = TokenKind.SERVER, role: Role = Role.SERVER) -> TokenStatus:
    done = machine.run(rotation_scripts.status_script(role, kind))
    assert done.code == 0, done.stderr
    return TokenStatus.parse(done.stdout)


def test_status_reports_the_configured_and_the_running_token(server: FakeMachine) -> None:
    assert seen(server) == TokenStatus(token_hash(OLD), token_hash(OLD), due=False, state="active")


def test_a_new_token_makes_a_restart_due(server: FakeMachine) -> None:
    server.run(rotation_scripts.write_token_script(Role.SERVER, TokenKind.SERVER, NEW))

    assert seen(server) == TokenStatus(token_hash(NEW), token_hash(OLD), due=True, state="active")


def test_a_token_keeps_its_format(server: FakeMachine) -> None:
    for kind in TokenKind:
        assert server.run(rotation_scripts.write_token_script(Role.SERVER, kind, NEW)).code == 0

    assert server.path(TOKEN).read_text() == f"K10ca::server:{NEW}\n"
    assert server.path(AGENT_TOKEN).read_text() == f"{NEW}\n"


def test_an_agent_and_a_server_have_different_token_files(server: FakeMachine) -> None:
    server.write(TOKEN, f"K10ca::node:{OLD}\n")
    server.run(rotation_scripts.write_token_script(Role.WORKER, TokenKind.AGENT, NEW))

    assert server.path(TOKEN).read_text() == f"K10ca::node:{NEW}\n"
    assert seen(server, TokenKind.AGENT, Role.WORKER) == TokenStatus(token_hash(NEW), "-", due=True, state="inactive")


def test_the_same_token_again_writes_nothing_and_makes_no_restart_due(server: FakeMachine) -> None:
    server.write(TOKEN, f"K10ca::server:{NEW}\n")
    before = server.files()
    server.run(rotation_scripts.write_token_script(Role.SERVER, TokenKind.SERVER, NEW))

    assert server.files() == before


def test_the_node_password_file_is_deleted_before_a_restart(server: FakeMachine) -> None:
    server.run(rotation_scripts.write_token_script(Role.SERVER, TokenKind.SERVER, NEW))
    assert server.run(rotation_scripts.restart_script(Role.SERVER)).code == 0

    assert server.calls_of("systemctl restart") == ["systemctl restart k3s"]
    assert not server.path(PASSWD).exists()


def test_a_server_that_failed_to_start_is_started(server: FakeMachine) -> None:
    (server.state / "active-k3s").unlink()
    assert seen(server).state == "inactive"
    server.run(rotation_scripts.restart_script(Role.SERVER))

    assert server.calls_of("systemctl restart") == ["systemctl restart k3s"]
    assert not server.path(PASSWD).exists()


def test_nothing_happens_where_no_restart_is_due(server: FakeMachine) -> None:
    before = server.files()
    assert server.run(rotation_scripts.restart_script(Role.SERVER)).code == 0

    assert server.files() == before
    assert server.calls_of("systemctl restart") == []


@pytest.mark.parametrize("role", [Role.SERVER, Role.WORKER])
def test_no_token_is_printed(server: FakeMachine, role: Role) -> None:
    for script in (
        rotation_scripts.write_token_script(role, TokenKind.AGENT, NEW),
        rotation_scripts.status_script(role, TokenKind.AGENT),
        rotation_scripts.restart_script(role),
    ):
        done = server.run(script)
        assert NEW not in done.stdout + done.stderr
        assert OLD not in done.stdout + done.stderr


def test_only_the_k3s_command_has_a_token_as_argument(server: FakeMachine) -> None:
    """K3s accepts a new token only as an argument, and hides its arguments."""
    server.write(
        "/usr/local/bin/k3s", '#!/bin/bash\\nprintf "%s\\n" "k3s $*" >>"$LYCEUM_TEST/log"\n'.replace("\\n", "\n", 1)
    )
    server.path("/usr/local/bin/k3s").chmod(0o755)
    for script in (
        rotation_scripts.write_token_script(Role.SERVER, TokenKind.SERVER, NEW),
        rotation_scripts.rotate_script(NEW),
        rotation_scripts.restart_script(Role.SERVER),
    ):
        assert server.run(script).code == 0

    assert [line for line in server.log if NEW in line] == [f"k3s token rotate --new-token {NEW}"]
