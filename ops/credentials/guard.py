"""What waits while the change of a token is not finished."""

from config.errors import OperationRefusedError
from ops.engine.stack import Stack


def resume_command(stack: Stack) -> str:
    """What finishes it."""
    return f"./lyceum secrets rotate {stack.site.name} {stack.generations.rotating} --stack {stack.name}"


def require_no_rotation(stack: Stack) -> None:
    """Ends the command while a rotation is under way: a machine that joined in between might get a token that is gone."""
    if stack.generations.rotating:
        raise OperationRefusedError(
            f"the rotation of the {stack.generations.rotating} is not finished; first: {resume_command(stack)}"
        )
