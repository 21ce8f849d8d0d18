# SPDX-License-Identifier: Apache-2.0
"""A middleware for WSGI apps that no plugin knows.

from skystitch.wsgi import Middleware
app = Middleware(app)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.context import FIELD, MARK, Environ, Headers, Recording, StartResponse, WsgiApp
from skystitch.foreign import PYTHON, ForeignRoutes
from skystitch.scope import current
from skystitch.stream import Stream

# Found at once: a method of an imported name is looked up anew by each call.
_get_scope, _enter_scope, _leave_scope = current.get, current.set, current.reset
_SERVER_ERROR = "5"
_WITHOUT_BODY = ("1", "204", "304")


class WsgiRecording(Recording):
    """A request in a WSGI app whose streams and failures are known by what goes to the server."""

    _is_refused = False  # the server has raised what it was given to send

    def __init__(
        self, environ: Environ, start_response: StartResponse, field: str, clock: int
    ) -> None:
        super().__init__(environ, start_response, field, clock)
        # What the server was handling already, in an app of somebody who is handling something.
        self._handled = sys.exc_info()[1]

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        try:
            if status[:1] == _SERVER_ERROR:
                self._note_handled(exc_info)
            if self._makes_a_stream(status, headers):
                self.expect_stream()
        except Exception:
            log.internal_error("start_response")
        try:
            return super().start_response(status, headers, exc_info)
        except BaseException as error:
            self._is_refused = True
            errors.forget_own_frame(error)
            raise

    def fail(self, error: BaseException) -> None:
        """uWSGI raises anew what an app says it answers for (exc_info): that has been noted."""
        if not (self._is_refused and self._parts):
            super().fail(error)

    def _note_handled(self, exc_info: Any) -> None:
        """An app that answers with a server error mostly does so while it handles what it failed
        by."""
        error = (exc_info or sys.exc_info())[1]
        if error is not None and error is not self._handled:
            self.note(error)

    def _makes_a_stream(self, status: str, headers: Headers) -> bool:
        """Whether the body may be made while it is sent: nobody then knows its length."""
        if self.environ["REQUEST_METHOD"] == "HEAD" or status.startswith(_WITHOUT_BODY):
            return False
        return not any(name.lower() == "content-length" for name, _ in headers)


#: A class of recordings, or what makes one.
Make = Callable[[Environ, StartResponse, str, int], Recording]


def wrap_app(make: Make) -> Callable[[WsgiApp], WsgiApp]:
    """For Patches.wrap, where a framework's app is called."""

    def wrap(original: WsgiApp) -> WsgiApp:
        def call(app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            if (
                FIELD not in environ
                or (MARK in environ and environ[MARK] is not None)
                or isinstance(_get_scope(), Recording)
            ):
                try:
                    return original(app, environ, start_response)
                except BaseException as error:
                    errors.forget_own_frame(error)
                    raise
            recording = make(environ, start_response, environ[FIELD], perf_counter_ns())
            environ[MARK] = recording
            reset = _enter_scope(recording)
            try:
                body = original(app, environ, recording.start_response)
            except BaseException as error:
                recording.fail(error)
                errors.forget_own_frame(error)
                raise
            finally:
                _leave_scope(reset)
                environ[MARK] = None  # each refers to the other
            if recording.answered and not recording.noted:
                return body  # a plain answer has said everything
            return _body(body, recording)

        return call

    return wrap


def _body(body: Iterable[bytes], recording: Recording) -> Iterable[bytes]:
    """The body as the server gets it. Before it is asked for its first part, an app that is a
    generator has not even answered."""
    if recording.answered and (not recording.streams or _is_there(body, recording.environ)):
        recording.end_stream(None)
        return body
    return Stream(body, recording)


def _is_there(body: Iterable[bytes], environ: Environ) -> bool:
    """Whether the body has been made. Files are the server's to send."""
    if isinstance(body, (list, tuple, bytes)):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _ForeignRecording(WsgiRecording):
    """A request in an app that is known by its middleware alone."""

    routes: ForeignRoutes

    def route(self, status: str) -> wire.Route:
        return self.routes.find(self.environ, self.environ)


class Middleware:
    """Times the requests of a WSGI app for the proxy, and tells it of exceptions and of the route
    if the framework leaves it in the environ."""

    def __init__(self, app: Callable[..., Iterable[bytes]], *, component: int = PYTHON) -> None:
        """app: what is wrapped. component: SkyWalking's number of the framework."""
        self.app = app
        routes = ForeignRoutes(app, component)

        def make(
            environ: Environ, start_response: StartResponse, field: str, clock: int
        ) -> Recording:
            recording = _ForeignRecording(environ, start_response, field, clock)
            recording.routes = routes
            recording.component, recording.entry_point = component, routes.handler
            return recording

        self._call = wrap_app(make)(_call)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._call(self.app, environ, start_response)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise


def _call(app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return app(environ, start_response)  # type: ignore[no-any-return]
