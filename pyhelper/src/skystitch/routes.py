# SPDX-License-Identifier: Apache-2.0
"""What the answer header says about a route, made once for all requests to it."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import wire

_MAX_ROUTES = 4096
_NOT_FOUND = "404"


class RouteCache:
    """The routes of one framework. The mount is part of the key and may come from a header of the
    client's (X-Forwarded-Prefix), so the cache is emptied when it has grown too large."""

    def __init__(self, write: Callable[[str], str]) -> None:
        """write: from the framework's notation of a rule to that of an operation's name."""
        self._write = write
        self._routes: dict[tuple[Any, str, str, str], wire.Route] = {}

    def find(self, view: Any, rule: str, environ: dict[str, Any]) -> wire.Route:
        method, script_name = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "")
        key = (view, rule, method, script_name)
        try:
            known = self._routes.get(key)
        except TypeError:  # a view that cannot be hashed
            return self._make(key)
        if known is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            known = self._routes[key] = self._make(key)
        return known

    def without_rule(self, status: str, environ: dict[str, Any]) -> wire.Route:
        """What is said where no rule matched: one name for all that is not found, otherwise none
        (the proxy makes one from the path)."""
        if status[:3] != _NOT_FOUND:
            return wire.NO_ROUTE
        operation = wire.operation(environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", ""), "/*")
        return wire.route("", operation)

    def clear(self) -> None:
        self._routes.clear()

    def _make(self, key: tuple[Any, str, str, str]) -> wire.Route:
        view, rule, method, script_name = key
        handler = "" if view is None else wire.handler_name(view)
        return wire.route(handler, wire.operation(method, script_name, self._write(rule)))
