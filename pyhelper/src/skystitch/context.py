# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a request while the app answers it, and how the proxy gets it.

A plain answer:            start_response adds the header; no message.
With something to say:     start_response sends the message, then adds the header.
A stream:                  start_response announces `+`, Stream sends the message at its end.
The app raises instead:    fail() sends the message, the server answers by itself.

Nothing here raises into the app; a defect of ours is logged once and costs what was recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from time import perf_counter_ns, time_ns
from typing import Any, Callable, ClassVar

from skystitch import errors, log, token, wire
from skystitch.channel import FOREIGN, SENT, Channels
from skystitch.config import Config

# In the WSGI environ of a request that is recorded: the outermost helper of a stack answers.
MARK = "skystitch.recorded"

ENTRY_SPAN = 0
APP_SPAN = 1
_MAX_SPANS = 300
_MAX_ERRORS = 8
_SERVER_ERROR = 500

# How details, which must not reach anybody but the proxy, get there.
_UNKNOWN = 0
_NO_WAY = 1
_BY_CHANNEL = 2
_BY_HEADER = 3

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class Scope:
    """What the running code is part of: a request, or an outgoing call within one."""

    __slots__ = ()


current: ContextVar[Scope | None] = ContextVar("skystitch", default=None)


class _Process:
    """What agent.start() has configured for all recordings."""

    def __init__(self) -> None:
        self.channels = Channels()
        self.token = ""


_process = _Process()


def configure(config: Config) -> None:
    _process.channels.close()
    _process.channels = Channels(config.channel_directory, config.proxy_uids)
    _process.token = config.token


def count_lost() -> None:
    """Something of a segment came too late, or found no room: the next answer says so."""
    _process.channels.count_lost()


class Recording(Scope):
    """One request in this app. Subclasses, one a framework, know its route."""

    component: ClassVar[int]
    #: Names the app's span when no view was reached.
    entry_point: ClassVar[str]

    __slots__ = (
        "_begin",
        "_channel",
        "_clock",
        "_closed",
        "_errors",
        "_headers",
        "_ids",
        "_mac",
        "_parts",
        "_route",
        "_sampled",
        "_server",
        "_spans",
        "_status",
        "_sw8",
        "_t0",
        "_way",
        "environ",
        "streams",
    )

    def __init__(
        self,
        environ: Environ,
        start_response: StartResponse,
        request: tuple[str, int, bool, str],
    ) -> None:
        self._clock = perf_counter_ns()
        self._channel, self._t0, self._sampled, self._mac = request
        begin = time_ns() // 1000 - self._t0
        self._begin = begin if begin > 0 else 0
        self._server = start_response
        self._headers: Headers | None = None
        self._errors: list[tuple[BaseException, bool, int]] | None = None
        self._spans: list[wire.Span] | None = None
        self._parts = 0
        self._route: wire.Route | None = None
        self._status = 0
        self._sw8: wire.Sw8 | None = None
        self._way = _UNKNOWN
        self._closed = False
        self.environ = environ
        self.streams = False

    # What the plugins tell.

    def route(self, status: str) -> wire.Route:
        """The route as far as it is known. status is empty before the answer."""
        raise NotImplementedError

    def route_of_failure(self) -> wire.Route:
        """The route when the app has raised before it was asked for."""
        return self.route("")

    def operation(self) -> str:
        """The operation as far as it is known, for the sw8 of outgoing calls."""
        return (self._route or self.route("")).operation

    def restart_clock(self) -> None:
        """The app's span begins now, later than the server's call."""
        now = perf_counter_ns()
        self._begin += (now - self._clock) // 1000
        self._clock = now

    def note(self, error: BaseException, *, is_answer: bool = False) -> None:
        """An exception left the view, or something around it. is_answer: the framework takes it as
        an answer (abort, Http404), so it counts only if that turns out to be a server error."""
        known = self._errors = self._errors or []
        for index, (other, was_answer, at) in enumerate(known):
            if other is error:
                known[index] = (other, was_answer and is_answer, at)
                return
        if len(known) < _MAX_ERRORS:
            known.append((error, is_answer, self.now()))
        if self._route is None:
            route = self.route("")  # while there is a request to ask
            self._route = route if route.operation else None

    # What outgoing calls need; see exits.

    def now(self) -> int:
        """Microseconds after the proxy's t0."""
        return self._begin + (perf_counter_ns() - self._clock) // 1000

    def new_span(self) -> int:
        """The id for a span of an outgoing call. ENTRY_SPAN when the span would not be reported:
        a callee that refers to it then still hangs in the right place of the trace."""
        if not self._sampled or self._find_way() == _NO_WAY:
            return ENTRY_SPAN
        if self._closed:
            count_lost()
            return ENTRY_SPAN
        if self._spans is None:
            self._spans = []
            self._ids = itertools.count(APP_SPAN + 1)
        span = next(self._ids)
        if span > _MAX_SPANS:
            count_lost()
            return ENTRY_SPAN
        return span

    def add_span(self, span: wire.Span) -> None:
        if self._closed or self._spans is None:
            count_lost()
        else:
            self._spans.append(span)

    def sw8(self) -> wire.Sw8 | None:
        """The request's sw8; None if it is defective."""
        if self._sw8 is None:
            self._sw8 = wire.parse_sw8(self.environ.get("HTTP_SW8", ""))
        return self._sw8

    # The answer.

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        """WSGI's start_response of the recorded app."""
        try:
            if self._headers is None:
                self._headers = self._answer(status)
            headers = [*headers, *self._headers]
        except Exception:
            log.internal_error("start_response")
        try:
            if exc_info is None:
                return self._server(status, headers)
            return self._server(status, headers, exc_info)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    def fail(self, error: BaseException) -> None:
        """The app raised instead of answering, or after it: the server answers by itself."""
        try:
            if self._parts:
                count_lost()  # the closing message has gone
                return
            if self._route is None:
                self._route = self.route_of_failure()
            self.note(error)
            self._closed = False
            self._close(_SERVER_ERROR, self._route, broken=True)
        except Exception:
            log.internal_error("fail")

    def end_stream(self, error: BaseException | None) -> None:
        """The body is exhausted, closed, or broke by an exception."""
        try:
            if self._closed:
                return
            if error is not None:
                self.note(error)
            self._close(self._status, self._route or wire.NO_ROUTE, broken=error is not None)
        except Exception:
            log.internal_error("end_stream")

    def _answer(self, status: str) -> Headers:
        route = self._route = self.route(status)
        more, data = "0", ""
        if self.streams:
            more, data = self._announce(status, route)
        elif self._errors is None and self._spans is None and route.fits:
            self._closed = True
        else:
            more, data = self._close(_code(status), route)
        duration = (perf_counter_ns() - self._clock) // 1000
        if _process.channels.has_losses():
            more = f"{more}!{_process.channels.take_losses()}"
        fields = route.fields if route.fits else ";"
        answer = ("sw8-stitch", wire.answer(self.component, self._begin, duration, more, fields))
        return [answer, ("sw8-stitch-data", data)] if data else [answer]

    def _announce(self, status: str, route: wire.Route) -> tuple[str, str]:
        way = self._find_way()
        if way == _BY_HEADER:  # now or never
            return self._close(_code(status), route)
        self._status = _code(status)
        return ("+" if self._sampled and way == _BY_CHANNEL else "0"), ""

    def _close(self, code: int, route: wire.Route, *, broken: bool = False) -> tuple[str, str]:
        """Sends what there is to say. Returns the header's `more` and the data header."""
        self._closed = True
        noted, self._errors = self._errors or [], None
        spans, self._spans = self._spans or [], None
        told = [item for item in noted if code >= _SERVER_ERROR or not item[1]]
        promised = self.streams and self._sampled
        if not (told or spans or promised or (self._sampled and not route.fits)):
            return "0", ""
        way, sw8 = self._find_way(), self.sw8()
        if way == _NO_WAY or sw8 is None:
            return "0", ""
        failed = bool(told) and (broken or code >= _SERVER_ERROR)
        spans.insert(0, self._app_span(route, told, failed))
        if way == _BY_CHANNEL:
            way = self._send(sw8.segment, route, spans)
        return str(self._parts), self._data(sw8.segment, route, spans) if way == _BY_HEADER else ""

    def _send(self, segment: str, route: wire.Route, spans: list[wire.Span]) -> int:
        channels = _process.channels
        messages, dropped = wire.messages(segment, self.component, route, spans)
        if dropped:
            channels.count_lost(dropped)
        self._parts = 0
        for message in messages:
            outcome = channels.send(self._channel, message)
            if outcome == SENT:
                self._parts += 1
            elif outcome == FOREIGN:
                return _BY_HEADER if self._has_token() else _NO_WAY
        return _BY_CHANNEL

    def _data(self, segment: str, route: wire.Route, spans: list[wire.Span]) -> str:
        messages, dropped = wire.messages(
            segment, self.component, route, spans, wire.MAX_DATA_BYTES, parts=1
        )
        if dropped:
            _process.channels.count_lost(dropped)
        return wire.base64_bytes(messages[0])

    def _app_span(
        self, route: wire.Route, told: list[tuple[BaseException, bool, int]], failed: bool
    ) -> wire.Span:
        span: wire.Span = {
            "id": APP_SPAN,
            "parent": ENTRY_SPAN,
            "type": "local",
            "layer": "unknown",
            "component": self.component,
            "operation": wire.clean(route.handler or self.entry_point),
            "begin": self._begin,
            "duration": (perf_counter_ns() - self._clock) // 1000,
        }
        if failed:
            span["error"] = True
        if told:
            span["logs"] = [{"at": at, "data": errors.describe(error)} for error, _, at in told]
        return span

    def _find_way(self) -> int:
        if self._way == _UNKNOWN:
            if _process.channels.leads_somewhere(self._channel):
                self._way = _BY_CHANNEL
            else:
                self._way = _BY_HEADER if self._has_token() else _NO_WAY
        return self._way

    def _has_token(self) -> bool:
        sw8 = self.sw8()
        if not _process.token or sw8 is None:
            return False
        now = time_ns() // 1000
        return token.is_genuine(_process.token, sw8.segment, self._t0, self._mac, now)


class Stream:
    """An answer's body that the app makes while it is sent: runs it in the request's context and
    tells the recording how it ended."""

    __slots__ = ("_body", "_next", "_recording")

    def __init__(self, body: Iterable[bytes], recording: Recording) -> None:
        self._body = body
        self._recording = recording

    def __iter__(self) -> Iterator[bytes]:
        self._next = self._run(iter, self._body).__next__
        return self

    def __next__(self) -> bytes:
        reset = current.set(self._recording)
        try:
            chunk: bytes = self._next()
            return chunk
        except StopIteration:
            self._recording.end_stream(None)
            raise
        except BaseException as error:
            self._recording.end_stream(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                self._run(close)
        finally:
            self._recording.end_stream(None)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        reset = current.set(self._recording)
        try:
            return function(*args)
        except BaseException as error:
            self._recording.end_stream(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)


def _code(status: str) -> int:
    digits = status[:3]
    return int(digits) if digits.isdecimal() else 0
