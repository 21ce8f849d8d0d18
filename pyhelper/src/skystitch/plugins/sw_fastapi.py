# SPDX-License-Identifier: Apache-2.0
"""Starlette and FastAPI: the app's span is the app's call, its name the endpoint's, its route that
of the Route below the Mounts that lead to it.

What is replaced: Starlette.__call__; handle() of the kinds of routes, where a route that was chosen
is about to be used; and the look-up of exception handlers, which sees each exception that leaves
an endpoint and through which none passes. What fails outside of the endpoints is seen when the
server error is answered.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Any, Callable

from skystitch import log, wire
from skystitch.asgi import AsgiRecording, AsgiScope, Receive, Send, wrap_app
from skystitch.context import MARK, Environ
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current

COMPONENT = 7014

_patches = Patches()
_routes = RouteCache(COMPONENT, str)
_http_exception: type[BaseException]

Handle = Callable[[Any, AsgiScope, Receive, Send], Awaitable[None]]


class StarletteRecording(AsgiRecording):
    """A request in a Starlette app."""

    component = COMPONENT
    entry_point = "starlette.applications.Starlette.__call__"

    mount = ""
    rule: str | None = None
    view: Any = None

    def __init__(self, scope: AsgiScope, environ: Environ, send: Send, clock: int) -> None:
        super().__init__(scope, environ, send, clock)
        self.scope = scope

    def route(self, status: str) -> wire.Route:
        if self.rule is None:
            # FastAPI's routes handle by themselves what comes through an included router.
            route = self.scope.get("route")
            if _is_included(self.scope, route):
                self.choose(route)
        rule = self.rule
        if rule is None:
            if not self.mount:
                return _routes.without_rule(status, self.environ)
            rule = "/*"
        return _routes.find(self.view, self.mount + rule, self.environ)

    def choose(self, route: Any) -> None:
        """The route is about to be used."""
        if _is_included(self.scope, route):
            route = _included(self.scope)  # with the prefixes of the routers
        self.rule = route.path
        methods = getattr(route, "methods", None)
        if not methods or self.environ["REQUEST_METHOD"] in methods:
            self.view = route.endpoint  # else it is not reached: 405


def _included(scope: AsgiScope) -> Any:
    told = scope.get("fastapi")
    return told.get("effective_route_context") if isinstance(told, dict) else None


def _is_included(scope: AsgiScope, route: Any) -> bool:
    included = _included(scope)
    return included is not None and getattr(included, "original_route", None) is route


def install() -> None:
    if _patches:
        return
    # The app has imported the first; its package does not know it yet.
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    global _http_exception
    _http_exception = HTTPException
    StarletteRecording.departures = (ClientDisconnect, WebSocketDisconnect)
    owner, name = _find_lookup()
    for kind in (Route, WebSocketRoute, Mount):
        require(kind, "handle")
    _patches.wrap(Starlette, "__call__", wrap_app(StarletteRecording))
    _patches.wrap(Route, "handle", _wrap_route)
    _patches.wrap(WebSocketRoute, "handle", _wrap_route)
    _patches.wrap(Mount, "handle", _wrap_mount)
    _patches.wrap(owner, name, _wrap_lookup)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _find_lookup() -> tuple[Any, str]:
    """Where this Starlette looks for the handler of an exception."""
    name = "_lookup_exception_handler"
    module = sys.modules.get("starlette._exception_handler")
    if module is not None and hasattr(module, name):
        return module, name
    try:  # before 0.28
        from starlette.middleware.exceptions import ExceptionMiddleware
    except ImportError:  # before 0.20
        from starlette.exceptions import ExceptionMiddleware
    require(ExceptionMiddleware, name)
    return ExceptionMiddleware, name


def _wrap_route(original: Handle) -> Handle:
    def handle(route: Any, scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
        recording = scope.get(MARK)
        if type(recording) is StarletteRecording and recording.rule is None:
            try:
                recording.choose(route)
            except Exception:
                log.internal_error("sw_fastapi route")
        return original(route, scope, receive, send)

    return handle


def _wrap_mount(original: Handle) -> Handle:
    def handle(mount: Any, scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
        recording = scope.get(MARK)
        if type(recording) is StarletteRecording and recording.rule is None:
            recording.mount += mount.path
        return original(mount, scope, receive, send)

    return handle


def _wrap_lookup(original: Callable[..., Any]) -> Callable[..., Any]:
    def lookup(owner: Any, exception: BaseException) -> Any:
        handler = original(owner, exception)
        try:
            recording = current.get()
            if type(recording) is StarletteRecording:
                recording.note(exception, is_answer=_is_answer(exception, handler))
        except Exception:
            log.internal_error("sw_fastapi note")
        return handler

    return lookup


def _is_answer(exception: BaseException, handler: Any) -> bool:
    """Whether the framework itself takes the exception as an answer, as 404 or 422."""
    if isinstance(exception, _http_exception):
        return True
    module = getattr(handler, "__module__", None) or ""
    return module.startswith(("fastapi.", "starlette."))
