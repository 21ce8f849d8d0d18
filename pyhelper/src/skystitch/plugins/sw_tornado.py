# SPDX-License-Identifier: Apache-2.0
"""Tornado 6, its own server: the app's span is the handler's execution, its name the handler's
method, its route the pattern that matched.

What is replaced: RequestHandler._execute; RequestHandler.flush, which writes the head;
RequestHandler._handle_request_exception, which sees what leaves a handler; and PathMatches.match.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.context import FIELD
from skystitch.django_route import readable
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.served import SWITCHED, ServedRecording, leave, read_environ

COMPONENT = 7005

_patches = Patches()
_routes = RouteCache(COMPONENT, lambda pattern: readable(pattern.lstrip("^/")))
_http_error: type[BaseException]
_no_errors: tuple[type[BaseException], ...]
_PATTERN = "_skystitch_pattern"


class TornadoRecording(ServedRecording):
    """A request in a Tornado app."""

    component = COMPONENT
    entry_point = "tornado.web.RequestHandler._execute"
    handler: Any

    def route(self, status: str) -> wire.Route:
        pattern = getattr(self.handler.request, _PATTERN, None)
        if pattern is None:
            return _routes.without_rule(status, self.environ)
        kind = type(self.handler)
        method = getattr(kind, self.environ["REQUEST_METHOD"].lower(), kind)
        return _routes.find(method, pattern, self.environ)


def install() -> None:
    if _patches:
        return
    from tornado.iostream import StreamClosedError
    from tornado.routing import PathMatches
    from tornado.web import Finish, HTTPError, RequestHandler

    global _http_error, _no_errors
    require(RequestHandler, "_execute", "flush", "_handle_request_exception")
    require(PathMatches, "match")
    _http_error, _no_errors = HTTPError, (Finish, StreamClosedError)
    _patches.wrap(RequestHandler, "_execute", _wrap_execute)
    _patches.wrap(RequestHandler, "flush", _wrap_flush)
    _patches.wrap(RequestHandler, "_handle_request_exception", _wrap_handle_exception)
    _patches.wrap(PathMatches, "match", _wrap_match)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_match(original: Callable[..., Any]) -> Callable[..., Any]:
    def match(matcher: Any, request: Any) -> Any:
        found = original(matcher, request)
        if found is not None:
            setattr(request, _PATTERN, matcher.regex.pattern)
        return found

    return match


def _wrap_execute(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _execute(handler: Any, *args: Any, **kwargs: Any) -> None:
        recording = _begin(handler)
        reset = current.set(recording) if recording is not None else None
        try:
            await original(handler, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            if recording is not None and reset is not None:
                recording.end()
                leave(reset)

    return _execute


def _begin(handler: Any) -> TornadoRecording | None:
    try:
        request = handler.request
        environ = read_environ(request.method, request.headers.get)
        if environ is None:
            return None
        recording = TornadoRecording(environ, handler.flush, environ[FIELD], perf_counter_ns())
        recording.handler = handler
        return recording
    except Exception:
        log.internal_error("sw_tornado")
        return None


def _recording(handler: Any) -> TornadoRecording | None:
    recording = current.get()
    if type(recording) is TornadoRecording and recording.handler is handler:
        return recording
    return None


def _wrap_flush(original: Callable[..., Any]) -> Callable[..., Any]:
    def flush(handler: Any, include_footers: bool = False) -> Any:
        recording = _recording(handler)
        if recording is not None:
            if not handler._headers_written:
                status = handler.get_status()
                recording.add_headers(status, not include_footers, handler.set_header)
            elif include_footers and handler.get_status() != SWITCHED:
                recording.end()  # before the last part
        return original(handler, include_footers)

    return flush


def _wrap_handle_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle_request_exception(handler: Any, error: BaseException) -> Any:
        try:
            recording = _recording(handler)
            if recording is not None and not isinstance(error, _no_errors):
                if recording.answered and recording.streams:
                    recording.end_stream(error)
                else:
                    recording.note(error, is_answer=isinstance(error, _http_error))
        except Exception:
            log.internal_error("sw_tornado note")
        return original(handler, error)

    return _handle_request_exception
