# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a request while the app answers it, and how the proxy gets it.

A plain answer:            complete() adds the header; no message.
With something to say:     complete() sends the message, then adds the header.
A stream:                  complete() announces `+`, end_stream() sends the message.
The app raises instead:    fail() sends the message, the server answers by itself.

Nothing here raises into the app; a defect of ours is logged once and costs what was recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from time import perf_counter_ns, time_ns
from typing import Any, Callable

from skystitch import errors, log, outbox, token, wire
from skystitch.channel import FOREIGN, SENT, losses
from skystitch.clock import to_wall
from skystitch.outbox import Outbox
from skystitch.scope import ENTRY_SPAN, Recorder

#: The request's sw8-stitch in a WSGI environ.
FIELD = "HTTP_SW8_STITCH"

#: The recording in the environ of its request, while the app runs: the outermost of several helpers
#: answers.
MARK = "skystitch.recording"

APP_SPAN = 1
_MAX_SPANS = 300
_MAX_ERRORS = 8
_MAX_TAGS = 60
_MAX_LOGS = 24  # with the errors, what the proxy takes of a span
_SERVER_ERROR = 500
_SWITCHED = 101

# How details, which must not reach anybody but the proxy, get there.
_NO_WAY = 0
_BY_CHANNEL = 1
_BY_HEADER = 2

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]
WsgiApp = Callable[[Any, Environ, StartResponse], Iterable[bytes]]


class Recording(Recorder):
    """One request in this app. Subclasses, one a framework, know its route.

    What __init__ does not set stays at the class's values until something is noted."""

    component: int
    #: Names the app's span when no view was reached.
    entry_point: str

    streams = False  # the body is made while it is sent, see expect_stream
    answered = False
    noted = False  # there is more to say than a plain answer's header does
    _headers: Headers | None = None
    _closed = False
    _errors: list[tuple[BaseException, bool, int]] | None = None
    _spans: list[str] | None = None
    _ids: Iterator[int]
    _route: wire.Route | None = None
    _status = 0
    _parts = 0
    _opened = 0  # parts that went before: none, or that of take_over()
    _request: wire.Request | None = None
    _begin: int | None = None
    _way: int | None = None
    _sw8: wire.Sw8 | None = None
    _tags: list[str] | None = None
    _logs: list[dict[str, Any]] | None = None
    _ignored = False
    _outgoing: tuple[wire.Route, str, str, bool] | None = None

    def __init__(
        self, environ: Environ, start_response: Callable[..., Any], field: str, clock: int
    ) -> None:
        """field: the request's sw8-stitch. clock: perf_counter_ns() when the request began.
        start_response: the server's, or its `send` under ASGI."""
        self.environ = environ
        self.server = start_response
        self._field = field
        self._clock = clock
        # Each answer asks for these: an object's own values are found faster than its class's.
        self.answered = self.streams = self.noted = False

    # What the plugins tell.

    def route(self, status: str) -> wire.Route:
        """The route as far as it is known. status is empty before the answer."""
        raise NotImplementedError

    def route_of_failure(self) -> wire.Route:
        """The route when the app has raised before it was asked for."""
        return self.route("")

    def restart_clock(self) -> None:
        """The app's span begins now, later than the server's call."""
        now = perf_counter_ns()
        if self._begin is not None:
            self._begin += (now - self._clock) // 1000
        self._clock = now

    def note(self, error: BaseException, *, is_answer: bool = False) -> None:
        """An exception left the view, or something around it. is_answer: the framework takes it as
        an answer (abort, Http404), so it counts only if that turns out to be a server error."""
        self.noted = True
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

    def expect_stream(self) -> None:
        """The body is made while it is sent. To be said before start_response."""
        self.noted = self.streams = True

    def take_over(self) -> None:
        """The app takes the connection over: no answer will say that there is more to come. So the
        proxy hears now what is known, and waits for the rest."""
        try:
            sw8 = self.sw8()
            if self.answered or self._opened or sw8 is None or not self._is_sampled():
                return
            if self._find_way() != _BY_CHANNEL:
                return
            self.noted = True
            route = self._route = self.route("")
            message = wire.opening(wire.head(sw8.segment, self.component, route))
            if Outbox.channels.send(self._channel(), message) == SENT:
                self._opened = 1
        except Exception:
            log.internal_error("take_over")

    # What spans below need; see exits and spans.

    def below(self) -> tuple[Recorder, int]:
        return self, APP_SPAN

    def tag(self, key: str, value: str) -> None:
        if self._is_open():
            self._tags = self._tags or []
            if len(self._tags) < _MAX_TAGS:
                self._tags.append(wire.tag(key, value))

    def log(self, data: list[list[str]]) -> None:
        if self._is_open():
            self._logs = self._logs or []
            if len(self._logs) < _MAX_LOGS:
                self._logs.append({"at": self.now(), "data": data})

    def ignore(self) -> None:
        if self._is_open():
            self._ignored = True
            self._outgoing = None

    def now(self) -> int:
        return self._began() + (perf_counter_ns() - self._clock) // 1000

    def new_span(self) -> int:
        # What allows the first span allows the others, until the answer.
        if (self._spans is None or self._ignored or self.answered) and not self._takes_spans():
            return ENTRY_SPAN
        span = next(self._ids)
        if span > _MAX_SPANS:
            outbox.count_lost()
            return ENTRY_SPAN
        return span

    def _takes_spans(self) -> bool:
        request = self._read_field()
        if request is None or not request.sampled or self._find_way() == _NO_WAY or self._ignored:
            return False
        if self._is_over():
            outbox.count_lost()
            return False
        ids = itertools.count(APP_SPAN + 1)
        self.zero = self._clock - self._began() * 1000
        # From here on no call, within which another thread of the request could do the same.
        if self._spans is None:
            self.noted = True
            self._ids = ids
            self._spans = []
            # Each span asks for these: an object's own values are found faster than its class's.
            self._closed, self._ignored = self._closed, self._ignored
            self._route, self._correlation = self._route, self._correlation
        return True

    def add_span(self, span: int, text: str) -> None:
        spans = self._spans
        if spans is None or self._closed or (self.answered and not self.streams):
            outbox.count_lost()
        else:
            spans.append(text)

    def operation(self) -> str:
        """The operation as far as it is known, for the sw8 of outgoing calls."""
        return (self._route or self.route("")).operation

    def sw8(self) -> wire.Sw8 | None:
        """The request's sw8; None if it is defective."""
        if self._sw8 is None:
            self._sw8 = wire.parse_sw8(self.environ.get("HTTP_SW8", ""))
        return self._sw8

    def trace_id(self) -> str:
        sw8 = self.sw8()
        return "" if sw8 is None else wire.text_of_base64(sw8.trace_id)

    def names(self, span: int) -> tuple[str, str, int, str]:
        sw8 = self.sw8()
        if sw8 is None:
            return "", "", ENTRY_SPAN, ""
        return self.trace_id(), sw8.segment, span, self.operation()

    def propagated(self, span: int, peer: str) -> dict[str, str]:
        route = self._route or self.route("")
        prepared = self._outgoing
        if prepared is None or prepared[0] is not route:
            prepared = self._prepare_outgoing(route)
            if prepared is None:
                return {}
        _, before, after, is_plain = prepared
        headers = {"sw8": f"{before}{span}{after}{wire.address(peer)}"}
        if not is_plain or self._correlation is not None:
            if self.environ.get("HTTP_SW8_X", "").partition("-")[0] == "1":
                headers["sw8-x"] = "1"  # no metrics are made of the whole trace
            self._add_correlation(headers)
        return headers

    def _prepare_outgoing(self, route: wire.Route) -> tuple[wire.Route, str, str, bool] | None:
        """What all calls take along that are made under this route: their sw8 before and after the
        span's id, up to the address, and whether there is nothing else."""
        sw8 = self.sw8()
        if sw8 is None:
            return None
        if self._ignored:
            sw8 = sw8._replace(sample="0")
        is_plain = "HTTP_SW8_X" not in self.environ and not self._received_correlation()
        self._outgoing = (route, *wire.exit_sw8(sw8, route.operation), is_plain)
        return self._outgoing

    def _received_correlation(self) -> str:
        return str(self.environ.get("HTTP_SW8_CORRELATION", ""))

    def _is_open(self) -> bool:
        """Whether what the app says of its span still reaches the proxy; notes that it does."""
        if self._is_over():
            outbox.count_lost()
            return False
        self.noted = True
        return True

    # The answer.

    def complete(self, headers: Headers, status: str) -> None:
        """Adds what the proxy gets to the headers of an answer, a list that nobody else has."""
        try:
            route = self.route(status)
            if self.noted or losses or not route.tail:
                headers += self._full_answer(status, route)
                return
            value = plain_answer(self._field, self._clock, route)
            if value:
                headers.append(("sw8-stitch", value))
            self.answered = True
        except Exception:
            log.internal_error("the answer")

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        """WSGI's start_response, for an app that is given this one instead of the server's."""
        headers = [*headers]
        self.complete(headers, status)
        try:
            if exc_info is None:
                return self.server(status, headers)
            return self.server(status, headers, exc_info)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    def fail(self, error: BaseException) -> None:
        """The app raised instead of answering, or after it: the server answers by itself."""
        try:
            if self._parts:
                outbox.count_lost()  # the closing message has gone
                return
            if self._route is None:
                self._route = self.route_of_failure()
            if isinstance(error, StopIteration) or (
                self._opened and isinstance(error, ConnectionError)
            ):
                # How Flask-Sock tells gunicorn and others that a WebSocket has had the connection
                # and is over.
                self.streams = True
                self._close(_SWITCHED, self._route)
                return
            self.note(error)
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
            self._close(
                self._status, self._route or wire.Route(self.component), broken=error is not None
            )
        except Exception:
            log.internal_error("end_stream")

    def _full_answer(self, status: str, route: wire.Route) -> Headers:
        if self._headers is not None or self._read_field() is None:
            return self._headers or []
        self.answered = True
        self._route = route
        self._status = wire.status_code(status)
        announced = self.streams and self._find_way() != _BY_HEADER
        # What travels in the header does so now or never.
        more, data = (self._announce(), "") if announced else self._close(self._status, route)
        if losses:
            more = f"{more}!{Outbox.channels.take_losses()}"
        duration = (perf_counter_ns() - self._clock) // 1000
        answer = wire.answer(self.component, self._began(), duration, more, route)
        self._headers = [("sw8-stitch", answer)]
        if data:
            self._headers.append(("sw8-stitch-data", data))
        return self._headers

    def _announce(self) -> str:
        """Of an unsampled stream the proxy hears only if it breaks."""
        if self._find_way() != _BY_CHANNEL:
            return "0"
        return "+" if self._is_sampled() else "?"

    def _close(self, code: int, route: wire.Route, *, broken: bool = False) -> tuple[str, str]:
        """Sends what there is to say. Returns the header's `more` and the data header."""
        self._closed = True
        noted, self._errors = self._errors or [], None
        spans, self._spans = self._spans or [], None
        told = [item for item in noted if code >= _SERVER_ERROR or not item[1]]
        if self._ignored:
            spans, told, self._tags, self._logs = [], [], None, None
        promised = self._is_sampled() and (self.streams or self._opened or not route.tail)
        said = bool(told or spans or self._tags or self._logs or self._ignored)
        if not (said or promised):
            return "0", ""
        way, sw8 = self._find_way(), self.sw8()
        if way == _NO_WAY or sw8 is None:
            return "0", ""
        if not self._ignored and (
            said or self.streams or self._opened
        ):  # else the header's times are enough
            failed = bool(told) and (broken or code >= _SERVER_ERROR)
            spans.insert(0, self._app_span(route, told, failed))
        if way == _BY_CHANNEL:
            way = self._send(sw8.segment, route, spans)
        more = str(self._parts + self._opened)
        return more, self._data(sw8.segment, route, spans) if way == _BY_HEADER else ""

    def _send(self, segment: str, route: wire.Route, spans: list[str]) -> int:
        """Returns the way that is left: there is another one if the channel is a stranger's."""
        head = wire.head(segment, self.component, route, ignored=self._ignored)
        messages, dropped = wire.messages(head, spans, first=self._opened)
        if dropped:
            outbox.count_lost(dropped)
        for message in messages:
            outcome = Outbox.channels.send(self._channel(), message)
            if outcome == FOREIGN:
                if self._has_token():
                    return _BY_HEADER
                outbox.count_lost()
                return _NO_WAY
            if outcome == SENT:
                self._parts += 1
        return _BY_CHANNEL

    def _data(self, segment: str, route: wire.Route, spans: list[str]) -> str:
        head = wire.head(segment, self.component, route, ignored=self._ignored)
        messages, dropped = wire.messages(head, spans, wire.MAX_DATA_BYTES, max_parts=1)
        if dropped:
            outbox.count_lost(dropped)
        return wire.base64_bytes(messages[0])

    def _app_span(
        self, route: wire.Route, told: list[tuple[BaseException, bool, int]], failed: bool
    ) -> str:
        logs = [*(self._logs or ())]
        logs += [{"at": at, "data": errors.describe(error)} for error, _, at in told]
        return wire.span(
            APP_SPAN,
            ENTRY_SPAN,
            "local",
            "unknown",
            self.component,
            route.handler or self.entry_point,
            "",
            self._tags,
            self._began(),
            (perf_counter_ns() - self._clock) // 1000,
            failed,
            logs,
        )

    def _is_over(self) -> bool:
        return self._closed or (self.answered and not self.streams)

    # The request's field, read when something of it is needed.

    def _read_field(self) -> wire.Request | None:
        if self._request is None:
            self._request = wire.parse_request(self._field)
        return self._request

    def _is_sampled(self) -> bool:
        request = self._read_field()
        return request is not None and request.sampled

    def _channel(self) -> str:
        request = self._read_field()
        return "-" if request is None else request.channel

    def _began(self) -> int:
        """When the app's span began, in microseconds after t0."""
        if self._begin is None:
            request = self._read_field()
            t0 = 0 if request is None else request.t0
            now = perf_counter_ns()
            is_beat = now > to_wall.valid_until
            to_wall.measure(now)
            if is_beat:
                outbox.beat(self._field)
            self._begin = max(0, (self._clock + to_wall.ns) // 1000 - t0)
        return self._begin

    def _find_way(self) -> int:
        if self._way is None:
            if Outbox.channels.leads_somewhere(self._channel()):
                self._way = _BY_CHANNEL
            else:
                self._way = _BY_HEADER if self._has_token() else _NO_WAY
        return self._way

    def _has_token(self) -> bool:
        request, sw8 = self._read_field(), self.sw8()
        if not Outbox.token or request is None or sw8 is None:
            return False
        now = time_ns() // 1000
        return token.is_genuine(Outbox.token, sw8.segment, request.t0, request.mac, now)


def plain_answer(field: str, clock: int, route: wire.Route) -> str:
    """The answer's sw8-stitch when there are no messages, as in wire.answer: written out, because
    each request pays for it. Empty when the request's field is none of ours."""
    now = perf_counter_ns()
    if now > to_wall.valid_until:
        to_wall.measure(now)
        outbox.beat(field)
    try:
        version, _, t0, _ = field.split(";", 3)
        begin = (clock + to_wall.ns) // 1000 - int(t0)
    except ValueError:
        return ""
    if version != "1":
        return ""
    return f"{route.head}{begin if begin > 0 else 0};{(now - clock) // 1000}{route.tail}"
