"""The tokens in use, put into the cluster's bootstrap data."""

from config.errors import LyceumError
from config.hosts import Role
from config.tokens import TokenGenerations, TokenKind, derive_token
from ops.clients.ssh import RemoteError, remotes
from ops.console import step
from ops.credentials import rotation_scripts
from ops.engine.engine import Engine


def save_tokens(engine: Engine) -> None:
    """After a restore: a snapshot holds the tokens of its time, and K3s would refuse its second start with others.

    Does nothing where no token was ever rotated; ends the command where a server cannot be told.
    """
    stack = engine.stack
    if stack.generations == TokenGenerations():
        return
    first = next(node for node in stack.nodes if node.role is Role.SERVER)
    current = derive_token(stack.secret("seed"), TokenKind.SERVER, stack.generations.server_token)
    try:
        with step(f"{first.name} saves the tokens that are in use"):
            remotes(engine, (first,))[first.name].run(rotation_scripts.rotate_script(current))
    except RemoteError as error:
        raise LyceumError(f"{error}\nRun this again to go on") from error
