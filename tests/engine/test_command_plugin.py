"""The command plugin under the real engine, against a real SSH server.

These are the behaviours that Lyceum relies on. They hold for the official plugin too: to see it, put that plugin's
directory into LYCEUM_TEST_PLUGINS (a Pulumi home directory) and run this file.
"""

import asyncio
import json
import os
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import asyncssh
import pytest

from tests.support.engine import Project
from tests.support.ports import free_port
from tests.support.relay import Relay
from tests.support.sshd import Sshd, make_key

pytestmark = pytest.mark.engine

OFFICIAL = os.environ.get("LYCEUM_TEST_PLUGINS")

PRELUDE = """
import json, pathlib, pulumi
from pulumi import ResourceOptions
from pulumi_command import local, remote
given = json.loads(pathlib.Path("given.json").read_text())

def connection(**changes):
    settings = dict(host="127.0.0.1", port=given["port"], user=given["user"], host_key=given["host_key"],
                    private_key=pulumi.Output.secret(given["key"]), dial_error_limit=2, per_dial_timeout=5)
    return remote.ConnectionArgs(**{**settings, **changes})
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd") / "server")
    server.start()
    yield server
    server.stop()


class Bench:
    """A project whose programs begin with PRELUDE, and a directory on the "remote" host."""

    def __init__(self, directory: Path, sshd: Sshd) -> None:
        variables = {"SSH_AUTH_SOCK": ""} | ({"PULUMI_HOME": OFFICIAL} if OFFICIAL else {})
        self.project = Project(directory / "project", variables)
        self.remote = directory / "remote"
        self.remote.mkdir()
        self.sshd = sshd
        self.give(
            port=sshd.port, user=sshd.user, host_key=sshd.host_key, key=sshd.key.read_text(), remote=str(self.remote)
        )

    def give(self, **values: Any) -> None:
        """Values that programs find in `given`."""
        file = self.project.directory / "given.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | values))

    def program(self, text: str) -> None:
        self.project.program(PRELUDE + textwrap.dedent(text))

    def log(self) -> list[str]:
        """Lines that commands have written to the host's file `log`."""
        file = self.remote / "log"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def bench(tmp_path: Path, sshd: Sshd) -> Bench:
    return Bench(tmp_path, sshd)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> dict[str, Any]:
    """Outputs of one run in which nothing goes wrong; many tests read it."""
    bench = Bench(tmp_path_factory.mktemp("happy"), sshd)
    tree = bench.project.directory / "tree" / "below"
    tree.mkdir(parents=True)
    (tree / "leaf").write_text("green")
    (bench.remote / "already").mkdir()
    bench.give(locked=sshd.locked_key.read_text())
    bench.program("""
        there = given["remote"]
        def run(name, create=None, **settings):
            settings.setdefault("connection", connection())
            command = remote.Command(name, create=create, **settings)
            pulumi.export(name, {"stdout": command.stdout, "stderr": command.stderr})

        run("streams", "echo out; echo out again; echo err >&2")
        run("fed", "cat; wc -c", stdin="line one\\nline two\\n")
        run("environment", 'echo "$WELCOME_NAME"', environment={"WELCOME_NAME": "Ada"})
        run("idle", delete="true")
        run("locked key", "echo in", connection=connection(private_key=given["locked"], private_key_password="open sesame"))
        run("through a bastion", "echo in", connection=connection(proxy=remote.ProxyConnectionArgs(
            host="127.0.0.1", port=given["port"], user=given["user"], host_key=given["host_key"], private_key=given["key"])))
        run("defaults", "echo in", connection=remote.ConnectionArgs(
            host="127.0.0.1", port=given["port"], user=given["user"], private_key=given["key"]))

        def copy(name, source, path):
            remote.CopyToRemote(name, connection=connection(), source=source, remote_path=f"{there}/{path}")
        copy("text", pulumi.StringAsset("hello"), "deep/er/text")
        copy("file", pulumi.FileAsset("tree/below/leaf"), "file")
        copy("into", pulumi.FileAsset("tree/below/leaf"), "already")
        copy("directory", pulumi.FileArchive("tree"), "copied")
        copy("content", pulumi.FileArchive("tree/"), "spilled")

        here = local.Command("here", create="pwd; echo $WELCOME_NAME; cat; echo made > made.txt", dir=there,
                             environment={"WELCOME_NAME": "Grace"}, stdin="fed", asset_paths=["*.txt", "!not*"])
        pulumi.export("here", {"stdout": here.stdout, "assets": here.assets.apply(lambda found: sorted(found or {}))})
        pulumi.export("bash", local.Command("bash", create="echo ${BASH_VERSION:+bash}", interpreter=["/bin/bash", "-c"]).stdout)
        pulumi.export("run", local.run_output(command="echo ran").stdout)
    """)
    bench.project.up()
    found = {
        str(file.relative_to(bench.remote)): file.read_text() for file in bench.remote.rglob("*") if file.is_file()
    }
    return {**bench.project.outputs(), "files": found, "there": str(bench.remote), "state": bench.project.state()}


def test_both_streams_are_kept_without_their_last_newline(results: dict[str, Any]) -> None:
    assert results["streams"] == {"stdout": "out\nout again", "stderr": "err"}


def test_stdin_reaches_the_command(results: dict[str, Any]) -> None:
    assert results["fed"]["stdout"] == "line one\nline two\n0"


def test_an_accepted_variable_reaches_the_command(results: dict[str, Any]) -> None:
    assert results["environment"]["stdout"] == "Ada"


def test_a_command_without_create_only_waits_for_its_delete(results: dict[str, Any]) -> None:
    assert results["idle"] == {"stdout": "", "stderr": ""}


def test_a_private_key_may_have_a_passphrase(results: dict[str, Any]) -> None:
    assert results["locked key"]["stdout"] == "in"


def test_a_host_may_be_behind_a_bastion(results: dict[str, Any]) -> None:
    assert results["through a bastion"]["stdout"] == "in"


def test_a_host_key_is_asked_for_only_where_one_is_pinned(results: dict[str, Any]) -> None:
    assert results["defaults"]["stdout"] == "in"


def test_a_text_becomes_a_file_and_its_directories_are_made(results: dict[str, Any]) -> None:
    assert results["files"]["deep/er/text"] == "hello"


def test_a_file_becomes_the_destination_or_goes_into_a_directory(results: dict[str, Any]) -> None:
    assert results["files"]["file"] == "green"
    assert results["files"]["already/leaf"] == "green"


def test_a_directory_arrives_by_name_or_with_a_slash_by_content(results: dict[str, Any]) -> None:
    assert results["files"]["copied/tree/below/leaf"] == "green"
    assert results["files"]["spilled/below/leaf"] == "green"


def test_a_local_command_has_its_directory_variables_stdin_and_files(results: dict[str, Any]) -> None:
    assert results["here"] == {"stdout": f"{results['there']}\nGrace\nfed", "assets": ["made.txt"]}


def test_a_local_command_may_name_its_interpreter(results: dict[str, Any]) -> None:
    assert results["bash"] == "bash"


def test_a_function_runs_a_local_command_at_once(results: dict[str, Any]) -> None:
    assert results["run"] == "ran"


def test_keys_are_secrets_in_the_state_even_if_the_program_forgot(results: dict[str, Any], sshd: Sshd) -> None:
    lines = sshd.locked_key.read_text().splitlines()[1:3] + sshd.key.read_text().splitlines()[1:3]
    assert not [line for line in lines if line in results["state"]]
    assert "open sesame" not in results["state"]


def test_a_preview_runs_nothing_and_knows_no_output(bench: Bench) -> None:
    bench.program("""
        one = remote.Command("one", connection=connection(), create=f"touch {given['remote']}/touched; echo done")
        pulumi.export("stdout", one.stdout)
    """)
    assert "[unknown]" in bench.project.preview().output
    assert not (bench.remote / "touched").exists()


LIFE = """
    log = given["remote"] + "/log"
    remote.Command("one", connection=connection(), triggers=[given["trigger"]],
        create=f"echo create {given['word']} >> {log}; echo {given['word']}",
        update=f'echo update {given["word"]} after $PULUMI_COMMAND_STDOUT >> {log}; echo {given["word"]}',
        delete=f"echo delete after $PULUMI_COMMAND_STDOUT >> {log}")
"""


def test_each_turn_of_a_life_runs_its_own_command_once(bench: Bench) -> None:
    bench.program(LIFE)
    bench.give(word="a", trigger=1)
    bench.project.up()
    bench.project.up()
    bench.give(word="b")
    bench.project.up()
    bench.give(trigger=2)
    bench.project.up()
    bench.project.destroy()
    assert bench.log() == [
        "create a",
        "update b after a",
        "create b",  # a new trigger replaces: the new one first, then the old one goes
        "delete after b",
        "delete after b",
    ]


def test_an_update_without_its_own_command_creates_again(bench: Bench) -> None:
    bench.program("""
        remote.Command("one", connection=connection(), add_previous_output_in_env=False,
            create=f'echo {given["word"]} [$PULUMI_COMMAND_STDOUT] >> {given["remote"]}/log; echo x')
    """)
    bench.give(word="a")
    bench.project.up()
    bench.give(word="b")
    bench.project.up()
    assert bench.log() == ["a []", "b []"], "and the former output stays away when that is asked for"


def test_a_failure_shows_the_exit_code_the_command_and_what_it_wrote(bench: Bench) -> None:
    bench.program("""
        remote.Command("one", connection=connection(), logging="none", create="echo the disk is full >&2; exit 28")
    """)
    output = bench.project.up(fails=True).output
    assert "exited with status 28" in output
    assert "the disk is full" in output
    assert "exit 28" in output


@pytest.mark.parametrize(
    ("logging", "shown", "hidden"),
    [("stdout", ["left"], ["right"]), ("stderr", ["right"], ["left"]), ("none", [], ["left", "right"])],
)
def test_only_the_chosen_streams_are_shown(bench: Bench, logging: str, shown: list[str], hidden: list[str]) -> None:
    bench.program(f"""
        one = remote.Command("one", connection=connection(), logging="{logging}",
                             create="printf 'le'; echo ft; printf 'rig' >&2; echo ht >&2")
        one.stdout.apply(lambda text: pathlib.Path("seen").write_text(text))
    """)
    output = bench.project.up().output
    assert [word for word in shown if word not in output] == []
    assert [word for word in hidden if word in output] == []
    assert (bench.project.directory / "seen").read_text() == "left", "what is not shown is kept all the same"


def test_a_machine_with_another_key_gets_no_command(bench: Bench, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    bench.give(other=(tmp_path / "other.pub").read_text().strip())
    bench.program("""
        remote.Command("one", connection=connection(host_key=given["other"], dial_error_limit=1),
                       create=f"touch {given['remote']}/touched")
    """)
    assert "host key mismatch" in bench.project.up(fails=True).output
    assert not (bench.remote / "touched").exists()


def test_a_variable_that_the_server_refuses_is_named(bench: Bench) -> None:
    bench.program("""
        remote.Command("one", connection=connection(), create="true", environment={"HTTP_PROXY": "x"})
    """)
    output = bench.project.up(fails=True).output
    assert "HTTP_PROXY" in output
    assert "AcceptEnv" in output


@pytest.mark.skipif(OFFICIAL is not None, reason="the official plugin hangs when it shows a line longer than 64 KiB")
def test_a_line_longer_than_any_buffer_arrives_whole(bench: Bench) -> None:
    bench.program("""
        one = remote.Command("one", connection=connection(), create="seq 1 20000 | tr '\\\\n' ' '")
        pulumi.export("words", one.stdout.apply(lambda text: len(text.split())))
    """)
    bench.project.up()
    assert bench.project.outputs() == {"words": 20000}


def test_dialling_stops_at_its_limit(bench: Bench) -> None:
    bench.give(nobody=free_port())
    bench.program("""
        remote.Command("one", connection=connection(port=given["nobody"], dial_error_limit=3), create="true")
    """)
    assert "after 3 failed attempts" in bench.project.up(fails=True).output


def test_a_host_that_is_still_booting_is_waited_for(tmp_path: Path) -> None:
    late = Sshd(tmp_path / "late")
    bench = Bench(tmp_path, late)
    bench.program("""
        remote.Command("one", connection=connection(dial_error_limit=-1), create=f"touch {given['remote']}/touched")
    """)
    with bench.project.start("up", "--yes", "--skip-preview") as engine:
        time.sleep(3)
        late.start()
        try:
            output, _ = engine.communicate(timeout=600)
        finally:
            engine.kill()
            late.stop()
    assert (bench.remote / "touched").exists(), output


def test_a_changed_text_is_copied_again_and_a_changed_connection_is_not(bench: Bench) -> None:
    bench.program("""
        remote.CopyToRemote("one", connection=connection(per_dial_timeout=given["timeout"]),
                            source=pulumi.StringAsset(given["text"]), remote_path=given["remote"] + "/file")
    """)
    bench.give(text="first", timeout=5)
    bench.project.up()
    bench.give(text="second")
    bench.project.up()
    assert (bench.remote / "file").read_text() == "second"
    (bench.remote / "file").write_text("touched by hand")
    bench.give(timeout=6)
    bench.project.up()
    assert (bench.remote / "file").read_text() == "touched by hand"


def test_a_key_in_an_agent_opens_the_door(bench: Bench, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            deadline = time.monotonic() + 60
            add = ["ssh-add", "-q", str(bench.sshd.key)]
            # Its socket is there a moment before it listens.
            while subprocess.run(add, env=os.environ | {"SSH_AUTH_SOCK": str(socket)}, check=False).returncode:
                assert time.monotonic() < deadline, "the agent took no key"
                time.sleep(0.05)
            bench.give(socket=str(socket))
            bench.program("""
                remote.Command("one", create=f"touch {given['remote']}/touched",
                               connection=connection(private_key=None, agent_socket_path=given["socket"]))
            """)
            bench.project.up()
        finally:
            agent.terminate()
    assert (bench.remote / "touched").exists()


@pytest.mark.skipif(OFFICIAL is not None, reason="the official plugin lets the remote command run on")
def test_an_interrupt_is_passed_on_to_the_command(bench: Bench) -> None:
    # OpenSSH refuses signals for root's sessions, and tests may run as root: a server that notes them stands in.
    with NotingServer(bench.sshd) as server:
        bench.give(port=server.port)
        bench.program("""
            remote.Command("one", connection=connection(), create="a long command")
        """)
        with bench.project.start("up", "--yes", "--skip-preview") as engine:
            server.wait_for_command(engine)
            engine.send_signal(signal.SIGINT)
            output, _ = engine.communicate(timeout=300)
    assert server.signals[0] == "INT"
    assert "ended by SIGINT" in output


@pytest.mark.skipif(OFFICIAL is not None, reason="the official plugin outlives its engine by minutes")
def test_a_command_ends_when_the_engine_was_killed(bench: Bench) -> None:
    with NotingServer(bench.sshd) as server:
        bench.give(port=server.port)
        bench.program("""
            remote.Command("one", connection=connection(), create="a long command")
        """)
        with bench.project.start("up", "--yes", "--skip-preview") as engine:
            server.wait_for_command(engine)
            engine.kill()
            engine.communicate(timeout=300)
        assert server.ended.wait(60), "the next run would meet this command"
    assert server.signals[0] == "INT"


@pytest.mark.skipif(OFFICIAL is not None, reason="the official plugin waits for ever: it sends no keepalive")
def test_a_host_that_falls_silent_is_given_up_by_name_and_the_next_run_finishes(bench: Bench) -> None:
    """Fault matrix S4: nothing hangs up where a network dies, and TCP alone would wait a quarter of an hour."""
    with Relay(bench.sshd.port) as network, Relay(bench.sshd.port) as other:
        bench.give(port=network.port, other=other.port)
        bench.program("""
            there = given["remote"]
            remote.Command("one", connection=connection(), create=f"echo begun >> {there}/log; test -e {there}/again || sleep 600")
            remote.CopyToRemote("two", connection=connection(port=given["other"]), source=pulumi.StringAsset("x" * 4_000_000),
                                remote_path=f"{there}/copied")
        """)
        other.silence(after=1_000_000)
        with bench.project.start("up", "--yes", "--skip-preview", "--continue-on-error") as engine:
            while not bench.log():
                assert engine.poll() is None, engine.communicate()[0]
                time.sleep(0.1)
            network.silence()
            start = time.monotonic()
            output, _ = engine.communicate(timeout=600)
        assert time.monotonic() - start < 240, "a minute, and three more for a busy machine"
        for relay in (network, other):
            assert f"127.0.0.1:{relay.port} has not answered for 30s: is it switched on" in output
            relay.mend()
        assert "run the same command again" in output

        (bench.remote / "again").touch()
        bench.project.up()
    assert (bench.remote / "copied").stat().st_size == 4_000_000


class NotingServer:
    """An SSH server in a thread, with sshd's host key, whose sessions last until a signal and note which."""

    def __init__(self, sshd: Sshd) -> None:
        self.port = 0
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.signals: list[str] = []
        self._key = str(sshd.directory / "host")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.get_port()
        return self

    def wait_for_command(self, engine: subprocess.Popen[str]) -> None:
        """Returns once the command runs; if it does not start, fails with what the engine said."""
        if not self.begun.wait(120):
            engine.kill()
            pytest.fail(f"the command did not start: {engine.communicate()[0]}")

    async def _listen(self) -> asyncssh.SSHAcceptor:
        noting = self

        class Session(asyncssh.SSHServerSession[str]):
            def connection_made(self, chan: asyncssh.SSHServerChannel[str]) -> None:
                self.channel = chan

            def exec_requested(self, command: str) -> bool:
                return True

            def session_started(self) -> None:
                noting.begun.set()

            def eof_received(self) -> bool:
                return True

            def signal_received(self, signal: str) -> None:
                noting.signals.append(signal)
                noting.ended.set()
                self.channel.exit(1)

        class Server(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return False

            def session_requested(self) -> Session:
                return Session()

        return await asyncssh.create_server(Server, "127.0.0.1", 0, server_host_keys=[self._key])

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(self._server.wait_closed(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
