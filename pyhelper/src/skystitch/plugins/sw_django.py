# SPDX-License-Identifier: Apache-2.0
"""Django 3.2 and later under WSGI and ASGI: the app's span is get_response, its name the view's,
its route that of the resolver.

What is replaced: WSGIHandler.__call__ and ASGIHandler.__call__, BaseHandler.get_response and its
asynchronous twin, and BaseHandler.process_exception_by_middleware, which sees what leaves a view.
Django tells of the exceptions that nobody handles by its signal.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.asgi import AsgiRecording
from skystitch.asgi import wrap_app as wrap_asgi_app
from skystitch.context import Environ, Recording
from skystitch.django_route import readable
from skystitch.patches import NotAvailable, Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.wsgi import wrap_app

COMPONENT = 7004
_MIN_VERSION = (3, 2)
_get_scope = current.get  # found at once: a method of an imported name is not

_patches = Patches()
_routes = RouteCache(COMPONENT, readable)


class DjangoRecording(Recording):
    """A request in a Django app."""

    component = COMPONENT
    entry_point = "django.core.handlers.base.BaseHandler.get_response"
    request: Any = None  # until the handler has made it

    def route(self, status: str) -> wire.Route:
        return _find_route(self.request, status, self.environ)


class DjangoAsgiRecording(AsgiRecording):
    """A request in a Django app under ASGI."""

    component = COMPONENT
    entry_point = "django.core.handlers.base.BaseHandler.get_response_async"
    request: Any = None

    def route(self, status: str) -> wire.Route:
        return _find_route(self.request, status, self.environ)

    def makes_a_stream(self, status: int, headers: Any) -> bool:
        return self.streams  # Django's response has told


_RECORDINGS = (DjangoRecording, DjangoAsgiRecording)


def _find_route(request: Any, status: str, environ: Environ) -> wire.Route:
    match = getattr(request, "resolver_match", None)
    if match is None:
        return _routes.without_rule(status, environ)
    method, script_name = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "")
    key = (match.func, match.route, method, script_name)
    try:
        return _routes[key]
    except TypeError:  # a view that cannot be hashed
        return _routes.make(key)


def install() -> None:
    """Instruments what of Django the app has imported so far; called again when there is more."""
    import django
    from django.core.handlers.base import BaseHandler
    from django.core.signals import got_request_exception

    if django.VERSION[:2] < _MIN_VERSION:
        raise NotAvailable(f"Django {django.get_version()} is older than 3.2")
    if not _patches:
        names = ("get_response", "get_response_async", "process_exception_by_middleware")
        require(BaseHandler, *names)
        _patches.wrap(BaseHandler, "get_response", _wrap_get_response)
        _patches.wrap(BaseHandler, "get_response_async", _wrap_get_response_async)
        _patches.wrap(BaseHandler, "process_exception_by_middleware", _wrap_process_exception)
        got_request_exception.connect(_on_unhandled)
    _instrument("django.core.handlers.wsgi", "WSGIHandler", wrap_app(DjangoRecording))
    _instrument("django.core.handlers.asgi", "ASGIHandler", wrap_asgi_app(DjangoAsgiRecording))


def _instrument(module: str, handler: str, wrap: Callable[[Any], Any]) -> None:
    kind = getattr(sys.modules.get(module), handler, None)
    if kind is not None and not _patches.has(kind, "__call__"):
        _patches.wrap(kind, "__call__", wrap)


def uninstall() -> None:
    from django.core.signals import got_request_exception

    _patches.restore()
    _routes.clear()
    got_request_exception.disconnect(_on_unhandled)


def _wrap_get_response(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_response(handler: Any, request: Any) -> Any:
        recording = _begin_span(request)
        try:
            response = original(handler, request)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if recording is not None and _is_stream(response):
            recording.expect_stream()
        return response

    return get_response


def _wrap_get_response_async(original: Callable[..., Any]) -> Callable[..., Any]:
    async def get_response_async(handler: Any, request: Any) -> Any:
        recording = _begin_span(request)
        try:
            response = await original(handler, request)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if recording is not None and _is_stream(response):
            recording.expect_stream()
        return response

    return get_response_async


def _begin_span(request: Any) -> Any:
    """The recording of a request that reaches the app."""
    recording: Any = _get_scope()
    if type(recording) not in _RECORDINGS or recording.request is not None:
        return None
    recording.request = request
    recording.restart_clock()
    return recording


def _is_stream(response: Any) -> bool:
    """Whether the app makes the body while it is sent. Files are the server's to send."""
    streaming = getattr(response, "streaming", False)
    return bool(streaming) and getattr(response, "file_to_stream", None) is None


def _wrap_process_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def process_exception_by_middleware(handler: Any, exception: Any, request: Any) -> Any:
        # Until a middleware has answered, or the signal says that nobody did, it may be one that
        # Django itself takes as an answer: Http404, PermissionDenied.
        _note(exception, is_answer=True)
        try:
            response = original(handler, exception, request)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if response is not None:
            _note(exception, is_answer=False)
        return response

    return process_exception_by_middleware


def _on_unhandled(sender: Any, **_: Any) -> None:
    _note(sys.exc_info()[1], is_answer=False)


def _note(error: BaseException | None, *, is_answer: bool) -> None:
    """Called in the thread that handles the exception, while it is handled."""
    try:
        recording = current.get()
        if error is not None and isinstance(recording, Recording):
            recording.note(error, is_answer=is_answer)
    except Exception:
        log.internal_error("sw_django note")
