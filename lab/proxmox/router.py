"""Routes: which handler answers which method and path."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError

RouteHandler = Callable[[Cluster, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """One handler and where it stands."""

    method: str
    pattern: str
    """Such as `nodes/{node}/qemu/{vmid}/config`; a placeholder matches one still encoded segment."""
    handler: RouteHandler
    expression: re.Pattern[str]


class RouteTable:
    """Routes of one area, collected by decorators: `@table.get(pattern)` and its like register a handler."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        methods = ("GET", "POST", "PUT", "DELETE")
        self.get, self.post, self.put, self.delete = (partial(self._register, method) for method in methods)

    def _register(self, method: str, pattern: str) -> Callable[[RouteHandler], RouteHandler]:
        expression = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))

        def register(handler: RouteHandler) -> RouteHandler:
            self.routes.append(Route(method, pattern, handler, expression))
            return handler

        return register


class Router:
    """Finds the route of a call."""

    def __init__(self, tables: Iterable[RouteTable]) -> None:
        self.routes = tuple(route for table in tables for route in table.routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and the decoded values of its placeholders.

        Raises:
            ApiError: 501 naming method and path, so that a call the simulator does not know fails loudly.
        """
        for route in self.routes:
            if route.method == method and (match := route.expression.fullmatch(path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        raise ApiError(501, f"Method '{method} /{path}' not implemented")
