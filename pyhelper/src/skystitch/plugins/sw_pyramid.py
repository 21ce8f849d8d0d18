# SPDX-License-Identifier: Apache-2.0
"""Pyramid: the app's span is the router's call, its route the pattern of the route that matched.

What is replaced: Router.__call__; Router.invoke_request, which has the request; and the function
that looks for an exception view. What no view answers leaves the router.
"""

from __future__ import annotations

from typing import Any, Callable

from skystitch import log, wire
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.wsgi import WsgiRecording, wrap_app

COMPONENT = 7009

_patches = Patches()
_routes = RouteCache(COMPONENT, lambda pattern: f"/{pattern.lstrip('/')}")
_response: type[Any]
_view: Any  # Pyramid does not tell which view it calls


class PyramidRecording(WsgiRecording):
    """A request in a Pyramid app."""

    component = COMPONENT
    entry_point = "pyramid.router.Router.__call__"
    request: Any = None

    def route(self, status: str) -> wire.Route:
        route = getattr(self.request, "matched_route", None)
        if route is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(_view, route.pattern, self.environ)


def install() -> None:
    if _patches:
        return
    from pyramid import tweens
    from pyramid.httpexceptions import HTTPException
    from pyramid.router import Router

    global _response, _view
    require(Router, "invoke_request", "handle_request")
    require(tweens, "_error_handler")
    _response, _view = HTTPException, Router.handle_request
    _patches.wrap(Router, "__call__", wrap_app(PyramidRecording))
    _patches.wrap(Router, "invoke_request", _wrap_invoke_request)
    _patches.wrap(tweens, "_error_handler", _wrap_error_handler)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_invoke_request(original: Callable[..., Any]) -> Callable[..., Any]:
    def invoke_request(router: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        recording = current.get()
        if type(recording) is PyramidRecording and recording.request is None:
            recording.request = request
        return original(router, request, *args, **kwargs)

    return invoke_request


def _wrap_error_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    def _error_handler(request: Any, exception: BaseException) -> Any:
        try:
            recording = current.get()
            if type(recording) is PyramidRecording:
                recording.note(exception, is_answer=isinstance(exception, _response))
        except Exception:
            log.internal_error("sw_pyramid note")
        return original(request, exception)

    return _error_handler
