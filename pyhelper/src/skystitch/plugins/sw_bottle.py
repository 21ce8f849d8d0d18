# SPDX-License-Identifier: Apache-2.0
"""Bottle: the app's span is the app's call, its name the callback's, its route the rule, which
Bottle leaves in the environ. What is replaced: Bottle.__call__, and Bottle._handle, which makes an
HTTPError of what nobody handles."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.wsgi import WsgiRecording, wrap_app

COMPONENT = 7015

_patches = Patches()
_routes = RouteCache(COMPONENT, str)


class BottleRecording(WsgiRecording):
    """A request in a Bottle app."""

    component = COMPONENT
    entry_point = "bottle.Bottle.__call__"

    def route(self, status: str) -> wire.Route:
        route = self.environ.get("bottle.route")
        if route is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(route.callback, route.rule, self.environ)


def install() -> None:
    if _patches:
        return
    from bottle import Bottle  # the app has imported it

    require(Bottle, "_handle")
    _patches.wrap(Bottle, "__call__", wrap_app(BottleRecording))
    _patches.wrap(Bottle, "_handle", _wrap_handle)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_handle(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle(app: Any, environ: Any) -> Any:
        try:
            answer = original(app, environ)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        try:
            recording = current.get()
            failure = getattr(answer, "exception", None)
            if type(recording) is BottleRecording and isinstance(failure, BaseException):
                recording.note(failure)
        except Exception:
            log.internal_error("sw_bottle note")
        return answer

    return _handle
