# SPDX-License-Identifier: Apache-2.0
"""Spans within a segment, between their begin and their end."""

from __future__ import annotations

from contextvars import Token
from time import perf_counter_ns
from typing import Any

from skystitch import errors, log, own, wire
from skystitch.scope import ENTRY_SPAN, Recorder, Scope, current, find_scope

# Found at once: a method of an imported name is looked up anew by each call.
_enter_scope, _leave_scope = current.set, current.reset
_MAX_TAGS = 60
_MAX_LOGS = 30
_MAX_TEXT = 4096
_MAX_NAME = 256


class OpenSpan(Scope):
    """One span until end(). The scope of what runs meanwhile, if it is entered."""

    __slots__ = (
        "_clock",
        "_component",
        "_failed",
        "_kind",
        "_layer",
        "_logs",
        "_operation",
        "_parent",
        "_peer",
        "_recorder",
        "_reset",
        "_span",
        "_tags",
    )

    def __init__(
        self,
        recorder: Recorder,
        span: int,
        parent: int,
        kind: str,
        layer: str,
        component: int,
        operation: str,
        peer: str,
        tags: list[str],
    ) -> None:
        """span: its id, ENTRY_SPAN for one that is not reported. operation and peer may be of any
        length. tags: as wire.tag() writes them."""
        self._recorder = recorder
        self._span = span
        self._parent = parent
        self._kind = kind
        self._layer = layer
        self._component = component
        self._operation = operation
        self._peer = peer
        self._tags = tags
        self._logs: list[dict[str, Any]] | None = None
        self._failed = False
        self._reset: Token[Scope | None] | None = None
        self._clock = perf_counter_ns()

    def enter(self) -> None:
        self._reset = _enter_scope(self)

    def leave(self) -> None:
        reset = self._reset
        if reset is None:
            return
        self._reset = None
        try:  # not suppress(), which costs more than all the rest
            _leave_scope(reset)
        except ValueError:  # closed by the garbage collector, in another context
            current.set(None)

    def below(self) -> tuple[Recorder, int] | None:
        return self._recorder, self._span

    def tag(self, key: str, value: str) -> None:
        if len(self._tags) < _MAX_TAGS:
            self._tags.append(wire.tag(key, value[:_MAX_TEXT]))

    def log(self, data: list[list[str]]) -> None:
        if self._span == ENTRY_SPAN:
            return
        self._logs = self._logs or []
        if len(self._logs) < _MAX_LOGS:
            self._logs.append({"at": self._recorder.now(), "data": data})

    def fail(self) -> None:
        """The span is an error."""
        self._failed = True

    def end(self, error: BaseException | None = None, *, failed: bool = False) -> None:
        """What the span stands for is over, or has failed by error. failed: without an exception.
        A second end() adds nothing."""
        try:
            self.leave()
            span = self._span
            if span == ENTRY_SPAN:
                return
            clock, recorder = self._clock, self._recorder
            duration = (perf_counter_ns() - clock) // 1000
            if error is not None:
                self.log(errors.describe(error))
                failed = True
            self._span = ENTRY_SPAN
            text = wire.span(
                span,
                self._parent,
                self._kind,
                self._layer,
                self._component,
                self._operation[:_MAX_NAME],
                self._peer[:_MAX_NAME],
                self._tags,
                (clock - recorder.zero) // 1000,
                duration,
                failed or self._failed,
                self._logs,
            )
            recorder.add_span(span, text)
        except Exception:
            log.internal_error("the end of a span")


class LocalSpan(OpenSpan):
    """Work of the app's own; what it calls hangs below. After its end, which a thread or task begun
    meanwhile may outlive, that hangs where the span hung."""

    __slots__ = ()

    def below(self) -> tuple[Recorder, int] | None:
        return self._recorder, self._parent if self._span == ENTRY_SPAN else self._span


def place() -> tuple[Scope, Recorder, int] | None:
    """Where a span of the running code would hang: with nothing above it in a segment of its own,
    if those are wanted. None: there is nothing to trace."""
    above = find_scope()
    if above is None:
        above = own.segment()
        if above is None:
            return None
    below = above.below()
    return None if below is None else (above, below[0], below[1])


def open_local(operation: str, component: int, layer: str, tags: list[str]) -> LocalSpan | None:
    """Begins a span of the app's own work; tags: as wire.tag() writes them. None: there is nothing
    to trace."""
    found = place()
    if found is None:
        return None
    above, recorder, parent = found
    if isinstance(above, own.Segment):
        above.name(operation)
    span = recorder.new_span()
    if span == ENTRY_SPAN:
        return None
    return LocalSpan(recorder, span, parent, "local", layer, component, operation, "", tags)


def open_entry(
    received: list[str],
    component: int,
    operation: str,
    tags: list[str],
    correlation: str = "",
    peer: str = "",
) -> LocalSpan | None:
    """Begins the work that a message of a queue asks for, in a segment of its own that goes on from
    the sw8 of whoever sent it. Within something else that is traced, it is a part of that."""
    if find_scope() is not None:
        return open_local(operation, component, "mq", tags)
    segment = own.entry(received, correlation)
    if segment is None:
        return None
    segment.name(operation)
    return LocalSpan(
        segment,
        segment.new_span(),
        ENTRY_SPAN,
        "entry",
        "mq",
        component,
        operation,
        peer,
        tags,
    )
