# SPDX-License-Identifier: Apache-2.0
"""What the answer header says about a route, made once for all requests to it."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import wire

_MAX_ROUTES = 4096
_NOT_FOUND = "404"

#: view, rule in the framework's notation, method, SCRIPT_NAME
RouteKey = tuple[Any, str, str, str]


class RouteCache(dict[RouteKey, wire.Route]):
    """The routes of one framework; a missing one is made. The mount is part of the key and may come
    from a header of the client's (X-Forwarded-Prefix), so a cache that has grown too large is
    emptied."""

    def __init__(self, component: int, write: Callable[[str], str]) -> None:
        """write: from the framework's notation of a rule to that of an operation's name."""
        super().__init__()
        self._component = component
        self._write = write
        self._none = wire.Route(component)

    def __missing__(self, key: RouteKey) -> wire.Route:
        if len(self) >= _MAX_ROUTES:
            self.clear()
        route = self[key] = self.make(key)
        return route

    def find(self, view: Any, rule: str, environ: dict[str, Any]) -> wire.Route:
        """The route of a request, made when it is the first one."""
        key = (view, rule, environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", ""))
        try:
            return self[key]
        except TypeError:  # a view that cannot be hashed
            return self.make(key)

    def make(self, key: RouteKey) -> wire.Route:
        """The route without a look at the cache, for a view that cannot be hashed."""
        view, rule, method, script_name = key
        handler = "" if view is None else wire.handler_name(view)
        operation = wire.operation(method, script_name, self._write(rule))
        return wire.Route(self._component, handler, operation)

    def without_rule(self, status: str, environ: dict[str, Any]) -> wire.Route:
        """What is said where no rule matched: one name for all that is not found, otherwise none
        (the proxy makes one from the path)."""
        if status[:3] != _NOT_FOUND:
            return self._none
        operation = wire.operation(environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", ""), "/*")
        return wire.Route(self._component, "", operation)
