# SPDX-License-Identifier: Apache-2.0
"""ASGI apps: how a request is recorded there, and a middleware for those that no plugin knows.

    from skystitch.asgi import Middleware
    app = Middleware(app)

A plain answer:   http.response.start carries the header, and what there was to say has been sent.
A stream:         the header announces `+`; the message goes before the last part of the body.
A WebSocket:      the same with websocket.accept and the end of the app's call.
The app raises:   the message is sent, the server answers by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from time import perf_counter_ns
from typing import Any, Callable, ClassVar, Protocol

from skystitch import errors, log, wire
from skystitch.context import FIELD, MARK, Environ, Recording
from skystitch.foreign import PYTHON, ForeignRoutes
from skystitch.outbox import count_lost
from skystitch.scope import current

AsgiScope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[AsgiScope, Receive, Send], Awaitable[None]]
#: With the object that it is a method of.
AsgiMethod = Callable[[Any, AsgiScope, Receive, Send], Awaitable[None]]

# Found at once: a method of an imported name is looked up anew by each call.
_get_scope, _enter_scope, _leave_scope = current.get, current.set, current.reset
_TRACED = ("http", "websocket")
_NAMES = {
    b"sw8": "HTTP_SW8",
    b"sw8-correlation": "HTTP_SW8_CORRELATION",
    b"sw8-x": "HTTP_SW8_X",
    b"sw8-stitch": FIELD,
}
_SWITCHED = 101
_SERVER_ERROR = 500
_REFUSED = 403
_STARTS = ("http.response.start", "websocket.http.response.start")


class AsgiRecording(Recording):
    """One request or WebSocket of an ASGI app. Subclasses, one a framework, know its route."""

    #: What the framework raises into an app whose client has gone.
    departures: ClassVar[tuple[type[BaseException], ...]] = ()

    _is_left = False  # the server has told the app that the client is gone

    def __init__(self, scope: AsgiScope, environ: Environ, send: Send, clock: int) -> None:
        super().__init__(environ, send, environ[FIELD], clock)
        # What the task was handling already, in an app of somebody who is handling something.
        self._handled = sys.exc_info()[1]

    def note(self, error: BaseException, *, is_answer: bool = False) -> None:
        if not self._is_departure(error):
            super().note(error, is_answer=is_answer)

    # To be overridden where the framework knows better.

    def makes_a_stream(self, status: int, headers: Any) -> bool:
        """Whether the app makes the body while it is sent: nobody then knows its length."""
        if self.environ["REQUEST_METHOD"] == "HEAD" or status < 200 or status in (204, 304):
            return False
        return not any(name.lower() == b"content-length" for name, _ in headers)

    # What the app sends.

    async def send(self, message: Message) -> None:
        """ASGI's send, for an app that is given this one instead of the server's."""
        try:
            message = self._note_message(message)
        except Exception:
            log.internal_error("an ASGI message")
        try:
            await self.server(message)
        except BaseException as error:
            self._is_left = isinstance(error, OSError)
            self.answered = self.answered and not self._is_start(message)
            errors.forget_own_frame(error)
            raise

    def _note_message(self, message: Message) -> Message:
        kind = message["type"]
        if kind == "http.response.body":
            if self.streams and not message.get("more_body", False):
                self.end_stream(None)
        elif self._is_start(message):
            headers = message.get("headers") or ()
            return self._answer(message, message["status"], headers)
        elif kind == "websocket.accept":
            self.take_over()  # of an accept's headers daphne sends none
            self.expect_stream()
            return self._answer(message, _SWITCHED, message.get("headers") or ())
        elif kind == "websocket.close" and not self.answered:
            self._refuse_socket()
        elif kind == "http.response.pathsend" and self.streams:
            self.end_stream(None)
        return message

    def _answer(self, message: Message, status: int, headers: Any) -> Message:
        """The message with our header; the app's own stays as it is, it may send it again."""
        if self.answered:
            return message
        if status >= _SERVER_ERROR:
            self._note_handled()
        if status != _SWITCHED and self.makes_a_stream(status, headers):
            self.expect_stream()
        added: list[tuple[str, str]] = []
        self.complete(added, str(status))
        if not added:
            return message
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in added]
        return {**message, "headers": [*headers, *encoded]}

    def _note_handled(self) -> None:
        """An app that answers with a server error mostly does so while it handles what it failed
        by."""
        error = sys.exc_info()[1]
        if error is not None and error is not self._handled:
            self.note(error)

    def _refuse_socket(self) -> None:
        """The server answers, without a header of ours."""
        self.streams = self.answered = True
        self._status = _REFUSED
        self._route = self.route("")
        self.end_stream(None)

    @staticmethod
    def _is_start(message: Message) -> bool:
        return message["type"] in _STARTS

    # How the app's call ends.

    def end(self) -> None:
        """The app has returned, whether the whole answer was sent or the client has gone."""
        if self.streams:
            self.end_stream(None)

    def end_by(self, error: BaseException) -> None:
        """The app's call ended by an exception. Cancellation is the server's way to say that nobody
        waits for an answer."""
        if self._is_departure(error) or not isinstance(error, Exception):
            self.end()
        elif not self.answered:
            self.fail(error)
        elif self.streams:
            self.end_stream(error)
        elif self._status < _SERVER_ERROR:
            count_lost()  # after a plain answer: in a background task, or while a file was sent

    def _is_departure(self, error: BaseException) -> bool:
        return self._is_left or isinstance(error, self.departures)


def read_environ(scope: AsgiScope) -> Environ | None:
    """What a recording needs of the request, as a WSGI environ has it; None if it did not come
    through the proxy."""
    environ: Environ = {}
    for name, value in scope["headers"]:
        if name[:3] == b"sw8" and name in _NAMES:
            environ.setdefault(_NAMES[name], value.decode("latin-1"))
    if FIELD not in environ:
        return None
    environ["REQUEST_METHOD"] = scope.get("method", "GET")
    mount = scope.get("root_path", "")
    environ["SCRIPT_NAME"] = mount if mount.isascii() else mount.encode().decode("latin-1")
    return environ


class Make(Protocol):
    """A class of recordings, or what makes one."""

    def __call__(
        self, scope: AsgiScope, environ: Environ, send: Send, clock: int
    ) -> AsgiRecording: ...


def begin(make: Make, scope: AsgiScope, send: Send) -> AsgiRecording | None:
    """A recording of the request if there is something to record, and nobody outside of the app
    does so already."""
    if scope["type"] not in _TRACED or MARK in scope:
        return None
    try:
        clock = perf_counter_ns()
        environ = read_environ(scope)
        if environ is None or isinstance(_get_scope(), Recording):
            return None
        recording = make(scope, environ, send, clock)
        scope[MARK] = recording
        return recording
    except Exception:
        log.internal_error("the begin of an ASGI request")
        return None


def wrap_app(make: Make) -> Callable[[AsgiMethod], AsgiMethod]:
    """For Patches.wrap, where a framework's app is called."""

    def wrap(original: AsgiMethod) -> AsgiMethod:
        async def call(app: Any, scope: AsgiScope, receive: Receive, send: Send) -> None:
            recording = begin(make, scope, send)
            if recording is None:
                try:
                    await original(app, scope, receive, send)
                except BaseException as error:
                    errors.forget_own_frame(error)
                    raise
                return
            reset = _enter_scope(recording)
            try:
                await original(app, scope, receive, recording.send)
                recording.end()
            except BaseException as error:
                recording.end_by(error)
                errors.forget_own_frame(error)
                raise
            finally:
                leave(scope, reset)

        return call

    return wrap


def leave(scope: AsgiScope, reset: Any) -> None:
    scope.pop(MARK, None)
    try:
        _leave_scope(reset)
    except ValueError:  # a call that is given up may be ended in another context
        current.set(None)


class _ForeignRecording(AsgiRecording):
    """A request in an app that is known by its middleware alone."""

    routes: ForeignRoutes
    scope: AsgiScope

    def route(self, status: str) -> wire.Route:
        return self.routes.find(self.scope, self.environ)


class Middleware:
    """Times the requests of an ASGI app for the proxy, and tells it of exceptions and of the route
    if the framework leaves it in the scope."""

    def __init__(self, app: AsgiApp, *, component: int = PYTHON) -> None:
        """app: what is wrapped. component: SkyWalking's number of the framework."""
        self.app = app
        routes = ForeignRoutes(app, component)

        def make(scope: AsgiScope, environ: Environ, send: Send, clock: int) -> AsgiRecording:
            recording = _ForeignRecording(scope, environ, send, clock)
            recording.routes, recording.scope = routes, scope
            recording.component, recording.entry_point = component, routes.handler
            return recording

        self._call = wrap_app(make)(_call)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await self._call(self.app, scope, receive, send)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise


def _call(app: AsgiApp, scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
    return app(scope, receive, send)
