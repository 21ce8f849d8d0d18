# SPDX-License-Identifier: Apache-2.0
"""Django 3.2 and later under WSGI: the app's span is get_response, its name the view's, its route
that of the resolver.

What is replaced: WSGIHandler.__call__, BaseHandler.get_response, and
BaseHandler.process_exception_by_middleware, which sees what leaves a view. Django tells of the
exceptions that nobody handles by its signal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.context import (
    FIELD,
    MARK,
    Environ,
    Recording,
    StartResponse,
    WsgiApp,
    current,
)
from skystitch.django_route import readable
from skystitch.patches import NotAvailable, Patches, require
from skystitch.routes import RouteCache
from skystitch.stream import Stream

COMPONENT = 7004
_MIN_VERSION = (3, 2)

_patches = Patches()
_routes = RouteCache(COMPONENT, readable)


class DjangoRecording(Recording):
    """A request in a Django app."""

    component = COMPONENT
    entry_point = "django.core.handlers.base.BaseHandler.get_response"
    request: Any = None  # until the handler has made it

    def route(self, status: str) -> wire.Route:
        match = getattr(self.request, "resolver_match", None)
        if match is None:
            return _routes.without_rule(status, self.environ)
        environ = self.environ
        method, script_name = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "")
        key = (match.func, match.route, method, script_name)
        try:
            return _routes[key]
        except TypeError:
            return _routes.make(key)


def install() -> None:
    if _patches:
        return
    import django  # the app has imported it
    from django.core.handlers.base import BaseHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.signals import got_request_exception

    if django.VERSION[:2] < _MIN_VERSION:
        raise NotAvailable(f"Django {django.get_version()} is older than 3.2")
    require(BaseHandler, "get_response", "process_exception_by_middleware")
    _patches.wrap(WSGIHandler, "__call__", _wrap_call)
    _patches.wrap(BaseHandler, "get_response", _wrap_get_response)
    _patches.wrap(BaseHandler, "process_exception_by_middleware", _wrap_process_exception)
    got_request_exception.connect(_on_unhandled)


def uninstall() -> None:
    from django.core.signals import got_request_exception

    _patches.restore()
    _routes.clear()
    got_request_exception.disconnect(_on_unhandled)


def _wrap_call(original: WsgiApp) -> WsgiApp:
    def call(handler: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        field = environ.get(FIELD)
        if field is None or environ.get(MARK) is not None:
            try:
                return original(handler, environ, start_response)
            except BaseException as error:
                errors.forget_own_frame(error)
                raise
        recording = DjangoRecording(environ, start_response, field, perf_counter_ns())
        environ[MARK] = recording
        reset = current.set(recording)
        try:
            body = original(handler, environ, recording.start_response)
        except BaseException as error:
            recording.fail(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)
            environ[MARK] = None  # each refers to the other
        return Stream(body, recording) if recording.streams else body

    return call


def _wrap_get_response(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_response(handler: Any, request: Any) -> Any:
        recording = current.get()
        if type(recording) is DjangoRecording and recording.request is None:
            recording.request = request
            recording.restart_clock()
        else:
            recording = None
        try:
            response = original(handler, request)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if recording is not None and _is_stream(response):
            recording.expect_stream()
        return response

    return get_response


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
