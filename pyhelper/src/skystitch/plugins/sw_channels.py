# SPDX-License-Identifier: Apache-2.0
"""Django Channels 3 and later: consumers of WebSockets and of HTTP. The app's span lasts as long as
the consumer, its name is the consumer's, its route that of the URLRouters that lead to it.

What is replaced: URLRouter.__call__, where a WebSocket is recorded from, and AsyncConsumer's
__call__. What goes on to Django's own handler is left to sw_django.
"""

from __future__ import annotations

import sys
from typing import Any

from skystitch import errors, log, wire
from skystitch.asgi import AsgiMethod, AsgiRecording, AsgiScope, Receive, Send, wrap_app
from skystitch.context import MARK, Environ
from skystitch.django_route import readable
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache

COMPONENT = 7004  # Django's
#: In the scope: the routers that it has come through, each with what it had to look at.
_ROUTERS = "skystitch.routers"
_REST = "path_remaining"

_patches = Patches()
_routes = RouteCache(COMPONENT, readable)


class ChannelsRecording(AsgiRecording):
    """A WebSocket, or a request that a consumer answers."""

    component = COMPONENT
    entry_point = "channels.routing.URLRouter.__call__"
    view: Any = None

    def __init__(self, scope: AsgiScope, environ: Environ, send: Send, clock: int) -> None:
        super().__init__(scope, environ, send, clock)
        self.scope = scope

    def route(self, status: str) -> wire.Route:
        rule = "" if self.view is None else _rule(self.scope)
        if not rule:
            return _routes.without_rule(status, self.environ)
        return _routes.find(self.view, rule, self.environ)

    def choose(self, view: Any, scope: AsgiScope) -> None:
        """The consumer is about to be called."""
        if self.view is None:
            self.view, self.scope = view, scope


def install() -> None:
    """Instruments what of Channels the app has imported so far; called again when there is more."""
    router = getattr(sys.modules.get("channels.routing"), "URLRouter", None)
    if router is not None and not _patches.has(router, "__call__"):
        _patches.wrap(router, "__call__", _wrap_router)
    consumer = getattr(sys.modules.get("channels.consumer"), "AsyncConsumer", None)
    if consumer is not None and not _patches.has(consumer, "__call__"):
        require(consumer, "as_asgi")
        _patches.wrap(consumer, "__call__", _wrap_consumer)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_router(original: AsgiMethod) -> AsgiMethod:
    recorded = wrap_app(ChannelsRecording)(original)

    async def call(router: Any, scope: AsgiScope, receive: Receive, send: Send) -> None:
        routers = (*scope.get(_ROUTERS, ()), (router, scope.get(_REST, scope.get("path", ""))))
        # Of requests others go on to Django, which knows their route.
        goes_on = recorded if scope["type"] == "websocket" else original
        try:
            await goes_on(router, {**scope, _ROUTERS: routers}, receive, send)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return call


def _wrap_consumer(original: AsgiMethod) -> AsgiMethod:
    async def consume(consumer: Any, scope: AsgiScope, receive: Receive, send: Send) -> None:
        recording = scope.get(MARK)
        if type(recording) is ChannelsRecording:
            recording.choose(type(consumer), scope)
        try:
            await original(consumer, scope, receive, send)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return wrap_app(ChannelsRecording)(consume)


def _rule(scope: AsgiScope) -> str:
    """The patterns of the routers that the scope has come through, one behind the other."""
    try:
        routers = scope.get(_ROUTERS, ())
        paths = [path for _, path in routers]
        if paths:
            paths[0] = paths[0][len(scope.get("root_path", "")) :]
        rests = [*paths[1:], scope.get(_REST, "")]
        return "".join(
            _pattern(router, path.lstrip("/"), rest)
            for (router, _), path, rest in zip(routers, paths, rests)
        )
    except Exception:
        log.internal_error("sw_channels")
        return ""


def _pattern(router: Any, path: str, rest: str) -> str:
    """That of the route that has taken the path up to the rest."""
    for route in router.routes:
        match = route.pattern.match(path)
        if match and match[0] == rest:
            return str(route.pattern)
    return ""
