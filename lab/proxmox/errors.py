"""Errors of the API with Proxmox VE's own messages, because the provider and people match on them."""


class ApiError(Exception):
    """A call that ends with an HTTP error.

    Args:
        status: HTTP status code.
        message: One sentence; clients treat a 500 whose text holds `does not exist` as "gone".
        errors: Parameter name to complaint, for status 400.
    """

    def __init__(self, status: int, message: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors or {}


def bad_parameter(name: str, complaint: str) -> ApiError:
    """A parameter that cannot be accepted."""
    return ApiError(400, "Parameter verification failed.", {name: complaint})


def permission_denied(what: str) -> ApiError:
    """A missing privilege; `what` is `<path>, <privilege>`, which names the remedy."""
    return ApiError(403, f"Permission check failed ({what})")


def not_found(what: str) -> ApiError:
    """Something that is not there; `what` names it."""
    return ApiError(500, f"{what} does not exist")
