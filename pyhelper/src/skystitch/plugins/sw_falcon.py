# SPDX-License-Identifier: Apache-2.0
"""Falcon 3 and later, WSGI and ASGI: the app's span is the app's call, its name the responder's,
its route the template.

What is replaced: App.__call__ of both kinds; App._get_responder, which finds the route; and
App._handle_exception of both kinds, which sees each exception.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from skystitch import log, wire
from skystitch.asgi import AsgiRecording
from skystitch.asgi import wrap_app as wrap_asgi_app
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.wsgi import WsgiRecording, wrap_app

COMPONENT = 7012

_patches = Patches()
_routes = RouteCache(COMPONENT, str)
_answers: tuple[type[BaseException], ...] = ()


class _Chosen:
    """What the router has found."""

    rule: str | None = None
    responder: Any = None


class FalconRecording(_Chosen, WsgiRecording):
    """A request in a Falcon app."""

    component = COMPONENT
    entry_point = "falcon.app.App.__call__"

    def route(self, status: str) -> wire.Route:
        if self.rule is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(self.responder, self.rule, self.environ)


class FalconAsgiRecording(_Chosen, AsgiRecording):
    """A request in a Falcon app under ASGI."""

    component = COMPONENT
    entry_point = "falcon.asgi.app.App.__call__"

    def route(self, status: str) -> wire.Route:
        if self.rule is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(self.responder, self.rule, self.environ)


_RECORDINGS = (FalconRecording, FalconAsgiRecording)


def install() -> None:
    """Instruments what of Falcon the app has imported so far; called again when there is more."""
    from falcon.app import App
    from falcon.errors import WebSocketDisconnected
    from falcon.http_error import HTTPError
    from falcon.http_status import HTTPStatus

    global _answers
    if not _patches:
        require(App, "_get_responder", "_handle_exception")
        _answers = (HTTPError, HTTPStatus)
        FalconAsgiRecording.departures = (WebSocketDisconnected,)
        _patches.wrap(App, "__call__", wrap_app(FalconRecording))
        _patches.wrap(App, "_get_responder", _wrap_get_responder)
        _patches.wrap(App, "_handle_exception", _wrap_handle_exception)
    asgi = getattr(sys.modules.get("falcon.asgi.app"), "App", None)
    if asgi is not None and not _patches.has(asgi, "__call__"):
        _patches.wrap(asgi, "__call__", wrap_asgi_app(FalconAsgiRecording))
        _patches.wrap(asgi, "_handle_exception", _wrap_handle_exception)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_get_responder(original: Callable[..., Any]) -> Callable[..., Any]:
    def _get_responder(app: Any, request: Any) -> Any:
        found = original(app, request)
        recording: Any = current.get()
        if type(recording) in _RECORDINGS:
            responder, _, resource, template = found
            recording.rule = template
            # For a method that the resource does not have it is one of Falcon's.
            is_own = getattr(responder, "__self__", None) is resource
            recording.responder = responder.__func__ if is_own and resource is not None else None
        return found

    return _get_responder


def _wrap_handle_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle_exception(
        app: Any, request: Any, response: Any, exception: BaseException, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            recording: Any = current.get()
            if type(recording) in _RECORDINGS:
                recording.note(exception, is_answer=isinstance(exception, _answers))
        except Exception:
            log.internal_error("sw_falcon note")
        return original(app, request, response, exception, *args, **kwargs)

    return _handle_exception
