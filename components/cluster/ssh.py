"""Runs a script as root on a machine: one SSH session, host key pinned, secrets only on standard input and output."""

from collections.abc import Sequence

import pulumi
from pulumi_command import remote

from components.cluster.bootstrap import run_as_root
from components.handles import Login, NodeHandle


def connection(machine: NodeHandle, login: Login) -> remote.ConnectionArgs:
    """How the command plugin logs in; without `host_key` it would accept any SSH server at the address."""
    return remote.ConnectionArgs(
        host=str(machine.spec.address),
        host_key=machine.host_key,
        user=login.user,
        private_key=login.private_key,
        dial_error_limit=30,
        per_dial_timeout=10,
    )


def command(
    name: str,
    machine: NodeHandle,
    login: Login,
    script: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *,
    triggers: Sequence[pulumi.Input[str]] | None = None,
) -> remote.Command:
    """Runs the script; runs it again when the script or one of the triggers changes, by default the machine's host key."""
    return remote.Command(
        name,
        connection=connection(machine, login),
        create=run_as_root(),
        stdin=pulumi.Output.secret(script),
        # A new host key means a new machine, on which the script has not run yet.
        triggers=[machine.host_key] if triggers is None else list(triggers),
        logging=remote.Logging.STDERR,
        # The previous output is the kubeconfig; it must not be in the environment of the remote command.
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                additional_secret_outputs=["stdout"],
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m"),
            ),
        ),
    )
