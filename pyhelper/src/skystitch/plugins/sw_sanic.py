# SPDX-License-Identifier: Apache-2.0
"""Sanic 22.12 and later, in its own server and under ASGI: the app's span is the handling of a
request, its name the handler's, its route the route's.

What is replaced: Sanic.__call__, which is ASGI's; Sanic.handle_request and handle_exception; the
start of a WebSocket; and BaseHTTPResponse.processed_headers, which Sanic's server reads when it
writes a head. At its start Sanic compiles some of these anew from their source and so would drop
what is around them: TouchUp.run is replaced, too.
"""

from __future__ import annotations

import functools
from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.asgi import AsgiRecording, wrap_app
from skystitch.context import FIELD, Environ
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.served import SWITCHED, ServedRecording, leave, no_start_response, read_environ

COMPONENT = 7007

_patches = Patches()
_touched = Patches()  # of what TouchUp compiles
_routes = RouteCache(COMPONENT, str)
_http_exception: type[BaseException]


class SanicRecording(ServedRecording):
    """A request in an app that Sanic serves by itself."""

    component = COMPONENT
    entry_point = "sanic.app.Sanic.handle_request"
    request: Any = None

    def route(self, status: str) -> wire.Route:
        return _find_route(self.request, status, self.environ)

    def switch(self) -> None:
        """The connection has become a WebSocket."""
        self.streams = self.answered = True
        self._status = SWITCHED


class SanicAsgiRecording(AsgiRecording):
    """A request in a Sanic app under ASGI."""

    component = COMPONENT
    entry_point = "sanic.app.Sanic.handle_request"
    request: Any = None

    def route(self, status: str) -> wire.Route:
        return _find_route(self.request, status, self.environ)

    def makes_a_stream(self, status: int, headers: Any) -> bool:
        """Sanic does not tell the length here, not even of a body that is there at once."""
        response = getattr(getattr(self.request, "stream", None), "response", None)
        if getattr(response, "body", None):
            return False
        return super().makes_a_stream(status, headers)


_RECORDINGS = (SanicRecording, SanicAsgiRecording)


def _find_route(request: Any, status: str, environ: Environ) -> wire.Route:
    route = getattr(request, "route", None)
    if route is None:
        return _routes.without_rule(status, environ)
    view = route.handler
    if getattr(view, "is_websocket", False):
        view = view.args[0]  # of what Sanic has made of it
    return _routes.find(view, f"/{route.path}", environ)


def install() -> None:
    if _patches:
        return
    from sanic.app import Sanic
    from sanic.exceptions import SanicException
    from sanic.response import BaseHTTPResponse
    from sanic.touchup.service import TouchUp
    from websockets.exceptions import ConnectionClosed

    global _http_exception
    require(Sanic, "handle_request", "handle_exception", "_websocket_handler")
    require(BaseHTTPResponse, "processed_headers")
    require(TouchUp, "run")
    _http_exception = SanicException
    SanicAsgiRecording.departures = (ConnectionClosed,)
    _patches.wrap(Sanic, "__call__", wrap_app(SanicAsgiRecording))
    _patches.wrap(Sanic, "_websocket_handler", _wrap_websocket)
    headers = vars(BaseHTTPResponse)["processed_headers"]
    _patches.put(BaseHTTPResponse, "processed_headers", _with_own_header(headers))
    _patches.put(TouchUp, "run", classmethod(_wrap_run(vars(TouchUp)["run"].__func__, Sanic)))
    _wrap_touched(Sanic)


def uninstall() -> None:
    _touched.restore()
    _patches.restore()
    _routes.clear()


def _wrap_touched(app_type: Any) -> None:
    _touched.wrap(app_type, "handle_request", _wrap_handle_request)
    _touched.wrap(app_type, "handle_exception", _wrap_handle_exception)


def _wrap_run(original: Callable[..., Any], app_type: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(cls: Any, app: Any) -> Any:
        _touched.restore()
        try:
            return original(cls, app)
        finally:
            _wrap_touched(app_type)

    return run


def _wrap_handle_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_request(app: Any, request: Any) -> Any:
        recording = _begin(request)
        if recording is None:
            try:
                return await original(app, request)
            except BaseException as error:
                errors.forget_own_frame(error)
                raise
        reset = current.set(recording)
        try:
            return await original(app, request)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            recording.end()
            leave(reset)

    return handle_request


def _wrap_handle_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Called after handle_request, too: for a timeout, or when there is no answer."""

    async def handle_exception(
        app: Any, request: Any, exception: Any, *args: Any, **kwargs: Any
    ) -> Any:
        recording = _begin(request)
        reset = None if recording is None else current.set(recording)
        _note(exception)
        try:
            return await original(app, request, exception, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            if recording is not None and reset is not None:
                recording.end()
                leave(reset)

    return handle_exception


def _begin(request: Any) -> SanicRecording | None:
    """A recording, unless somebody records the request already."""
    try:
        outer = current.get()
        if type(outer) is SanicAsgiRecording:
            outer.request = request
            return None
        environ = read_environ(request.method, request.headers.get)
        if environ is None:
            return None
        recording = SanicRecording(environ, no_start_response, environ[FIELD], perf_counter_ns())
        recording.request = request
        return recording
    except Exception:
        log.internal_error("sw_sanic")
        return None


def _note(error: Any) -> None:
    try:
        recording: Any = current.get()
        if type(recording) not in _RECORDINGS or not isinstance(error, Exception):
            return
        if recording.answered and recording.streams:
            recording.end_stream(error)
        else:
            recording.note(error, is_answer=isinstance(error, _http_exception))
    except Exception:
        log.internal_error("sw_sanic note")


def _with_own_header(headers: property) -> property:
    read: Any = headers.fget

    def processed_headers(response: Any) -> Any:
        found = read(response)
        recording = current.get()
        if type(recording) is not SanicRecording or recording.answered:
            return found
        added: list[tuple[bytes, bytes]] = []

        def add(name: str, value: str) -> None:
            added.append((name.encode("latin-1"), value.encode("latin-1")))

        recording.add_headers(response.status, _is_stream(recording, response), add)
        return [*found, *added]

    return property(functools.wraps(read)(processed_headers))


def _is_stream(recording: SanicRecording, response: Any) -> bool:
    """Whether the server knows of more to come when it writes the head."""
    if recording.environ["REQUEST_METHOD"] == "HEAD":
        return False
    return getattr(response.stream, "response_func", None) is not None


def _wrap_websocket(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _websocket_handler(
        app: Any, handler: Any, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        recording: Any = current.get()
        if type(recording) is SanicRecording:
            recording.take_over()
        try:
            return await original(app, _watched(handler), request, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return _websocket_handler


def _watched(handler: Callable[..., Any]) -> Callable[..., Any]:
    """What follows the handshake. Sanic keeps what it raises to itself."""

    @functools.wraps(handler)
    async def watched(*args: Any, **kwargs: Any) -> Any:
        recording: Any = current.get()
        if type(recording) is SanicRecording:
            recording.switch()
        try:
            return await handler(*args, **kwargs)
        except Exception as error:
            if not isinstance(error, SanicAsgiRecording.departures):
                _note(error)
            errors.forget_own_frame(error)
            raise

    return watched
