"""A script on a machine, run by root: one SSH session, host key pinned, everything secret on standard input and output."""

import pulumi
from pulumi_command import remote

from components.cluster.bootstrap import run_as_root
from components.handles import Login, Machine


def connection(machine: Machine, login: Login) -> remote.ConnectionArgs:
    """How the command plugin logs in; without `host_key` it would trust whoever answers."""
    return remote.ConnectionArgs(
        host=str(machine.spec.address),
        host_key=machine.host_key,
        user=login.user,
        private_key=login.private_key,
        dial_error_limit=30,
        per_dial_timeout=10,
    )


def command(
    name: str, machine: Machine, login: Login, script: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> remote.Command:
    """Runs a script when it, or the machine behind the name, is another one."""
    return remote.Command(
        name,
        connection=connection(machine, login),
        create=run_as_root(),
        stdin=pulumi.Output.secret(script),
        # Another host key is another machine: the old command tells nothing about it.
        triggers=[machine.host_key],
        logging=remote.Logging.STDERR,
        # The previous output is the kubeconfig: it has no business in a remote environment.
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                additional_secret_outputs=["stdout"],
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m"),
            ),
        ),
    )
