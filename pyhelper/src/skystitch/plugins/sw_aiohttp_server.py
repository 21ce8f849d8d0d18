# SPDX-License-Identifier: Apache-2.0
"""aiohttp's server: the app's span is the handling of a request, its name the handler's, its route
the resource's.

What is replaced: RequestHandler._handle_request, which has the app's handler called and sends what
comes of it; and StreamResponse._prepare_headers, after which the head is written.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.context import FIELD
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import current
from skystitch.served import ServedRecording, leave, no_start_response, read_environ

COMPONENT = 7008

_patches = Patches()
_routes = RouteCache(COMPONENT, str)
_http_exception: type[BaseException]
_NO_BODY = (204, 304)


class AiohttpRecording(ServedRecording):
    """A request in an app of aiohttp's server."""

    component = COMPONENT
    entry_point = "aiohttp.web_protocol.RequestHandler._handle_request"
    request: Any

    def route(self, status: str) -> wire.Route:
        match = getattr(self.request, "match_info", None)
        resource = getattr(getattr(match, "route", None), "resource", None)
        if match is None or resource is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(match.handler, resource.canonical, self.environ)


def install() -> None:
    if _patches:
        return
    from aiohttp.web_exceptions import HTTPException
    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_response import StreamResponse

    global _http_exception
    require(RequestHandler, "_handle_request")
    require(StreamResponse, "_prepare_headers")
    _http_exception = HTTPException
    _patches.wrap(RequestHandler, "_handle_request", _wrap_handle_request)
    _patches.wrap(StreamResponse, "_prepare_headers", _wrap_prepare_headers)


def uninstall() -> None:
    _patches.restore()
    _routes.clear()


def _wrap_handle_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _handle_request(
        protocol: Any, request: Any, start_time: Any, request_handler: Any
    ) -> Any:
        recording = _begin(request)
        if recording is None:
            try:
                return await original(protocol, request, start_time, request_handler)
            except BaseException as error:
                errors.forget_own_frame(error)
                raise
        reset = current.set(recording)
        try:
            watched = _watch(request_handler, recording)
            return await original(protocol, request, start_time, watched)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            recording.end()
            leave(reset)

    return _handle_request


def _begin(request: Any) -> AiohttpRecording | None:
    try:
        environ = read_environ(request.method, request.headers.get)
        if environ is None:
            return None
        recording = AiohttpRecording(environ, no_start_response, environ[FIELD], perf_counter_ns())
        recording.request = request
        return recording
    except Exception:
        log.internal_error("sw_aiohttp_server")
        return None


def _watch(
    handler: Callable[[Any], Awaitable[Any]], recording: AiohttpRecording
) -> Callable[[Any], Awaitable[Any]]:
    async def watched(request: Any) -> Any:
        try:
            return await handler(request)
        except Exception as error:
            _note(recording, error)
            errors.forget_own_frame(error)
            raise

    return watched


def _note(recording: AiohttpRecording, error: Exception) -> None:
    try:
        if isinstance(error, ConnectionError):
            return  # the client has gone
        if recording.answered and recording.streams:
            recording.end_stream(error)
        else:
            recording.note(error, is_answer=isinstance(error, _http_exception))
    except Exception:
        log.internal_error("sw_aiohttp_server note")


def _wrap_prepare_headers(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _prepare_headers(response: Any) -> None:
        await original(response)
        recording = current.get()
        if type(recording) is AiohttpRecording:
            status = response.status
            has_body = recording.environ["REQUEST_METHOD"] != "HEAD" and status not in _NO_BODY
            is_stream = has_body and "Content-Length" not in response.headers
            recording.add_headers(status, is_stream, response.headers.__setitem__)

    return _prepare_headers
