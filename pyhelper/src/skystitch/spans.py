# SPDX-License-Identifier: Apache-2.0
"""Spans within a segment, between their begin and their end."""

from __future__ import annotations

from contextvars import Token
from typing import Any

from skystitch import errors, log, own, wire
from skystitch.scope import ENTRY_SPAN, Recorder, Scope, current, find_scope

_leave_scope = current.reset  # found at once: a method of an imported name is not
_MAX_TAGS = 60
_MAX_LOGS = 30
_MAX_TEXT = 4096
_MAX_NAME = 256


class OpenSpan(Scope):
    """One span until end(). The scope of what runs meanwhile, if it is entered."""

    __slots__ = ("_recorder", "_reset", "_span")

    def __init__(self, recorder: Recorder, span: wire.Span | None) -> None:
        """span: None for one that is not reported."""
        self._recorder = recorder
        self._span = span
        self._reset: Token[Scope | None] | None = None

    def enter(self) -> None:
        self._reset = current.set(self)

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
        return self._recorder, ENTRY_SPAN if self._span is None else self._span["id"]

    def tag(self, key: str, value: str) -> None:
        span = self._span
        if span is not None and len(span["tags"]) < _MAX_TAGS:
            span["tags"].append([key, value[:_MAX_TEXT]])

    def log(self, data: list[list[str]]) -> None:
        span = self._span
        if span is None:
            return
        logs = span.setdefault("logs", [])
        if len(logs) < _MAX_LOGS:
            logs.append({"at": self._recorder.now(), "data": data})

    def fail(self) -> None:
        """The span is an error."""
        if self._span is not None:
            self._span["error"] = True

    def end(self, error: BaseException | None = None, *, failed: bool = False) -> None:
        """What the span stands for is over, or has failed by error. failed: without an exception.
        A second end() adds nothing."""
        try:
            if self._reset is not None:
                self.leave()
            span = self._span
            if span is None:
                return
            recorder = self._recorder
            span["duration"] = recorder.now() - span["begin"]
            if error is not None:
                self.log(errors.describe(error))
                failed = True
            if failed:
                span["error"] = True
            self._span = None
            recorder.add_span(span)
        except Exception:
            log.internal_error("the end of a span")


class LocalSpan(OpenSpan):
    """Work of the app's own; what it calls hangs below. After its end, which a thread or task begun
    meanwhile may outlive, that hangs where the span hung."""

    __slots__ = ("_parent",)

    def __init__(self, recorder: Recorder, parent: int, span: wire.Span | None) -> None:
        super().__init__(recorder, span)
        self._parent = parent

    def below(self) -> tuple[Recorder, int] | None:
        return self._recorder, self._parent if self._span is None else self._span["id"]


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


def open_local(
    operation: str, component: int = 0, layer: str = "unknown", tags: Any = ()
) -> LocalSpan | None:
    """Begins a span of the app's own work. None: there is nothing to trace."""
    found = place()
    if found is None:
        return None
    above, recorder, parent = found
    if isinstance(above, own.Segment):
        above.name(operation)
    span = recorder.new_span()
    if span == ENTRY_SPAN:
        return None
    return LocalSpan(
        recorder,
        parent,
        {
            "id": span,
            "parent": parent,
            "type": "local",
            "layer": layer,
            "component": component,
            "operation": operation[:_MAX_NAME],
            "tags": [[str(key), str(value)[:_MAX_TEXT]] for key, value in tags],
            "begin": recorder.now(),
        },
    )


def open_entry(
    received: list[str],
    component: int,
    operation: str,
    tags: list[list[str]],
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
    span = segment.new_span()
    if span == ENTRY_SPAN:
        return LocalSpan(segment, ENTRY_SPAN, None)
    return LocalSpan(
        segment,
        ENTRY_SPAN,
        {
            "id": span,
            "parent": ENTRY_SPAN,
            "type": "entry",
            "layer": "mq",
            "component": component,
            "operation": operation[:_MAX_NAME],
            "peer": peer[:_MAX_NAME],
            "tags": tags,
            "begin": segment.now(),
        },
    )
