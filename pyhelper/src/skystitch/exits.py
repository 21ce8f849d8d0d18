# SPDX-License-Identifier: Apache-2.0
"""An outgoing call as an Exit span, whatever the library.

Happy path: start() -> the library does its work, whose own calls below add nothing -> end().
Nothing is recorded: outside of what is recorded, within another call, or for a request that will
not be reported. What fails here is logged once, and the app's call goes on without a span.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from contextvars import Token
from typing import Any, NamedTuple

from skystitch import errors, log, wire
from skystitch.context import ENTRY_SPAN, Recording, Scope, current, find_scope


class Target(NamedTuple):
    """What is called, as SkyWalking shows it. The texts may be of any length and content."""

    component: int
    layer: str  # database, cache, mq, http, rpc
    operation: str
    peer: str  # host:port, or what names the server otherwise; never empty
    tags: list[list[str]]


#: Says where a call goes, from its arguments. None: this one is not to be shown.
Describe = Callable[..., "Target | None"]
Wrapper = Callable[[Any], Any]

_MAX_TEXT = 4096
_MAX_NAME = 256


class Call(Scope):
    """One call until end(). While it lasts it is the current scope, so that a library below the one
    that began it adds no span of its own."""

    __slots__ = ("_above", "_over", "_recording", "_reset", "_span")

    def __init__(
        self,
        above: Scope,
        recording: Recording,
        span: wire.Span | None,
        *,
        is_current: bool = True,
    ) -> None:
        """span: None to add none. is_current: False for a call that may end in another context than
        it began in."""
        self._above = above
        self._recording = recording
        self._span = span
        self._over = False
        self._reset: Token[Scope | None] | None = current.set(self) if is_current else None

    def below(self) -> tuple[Recording, int] | None:
        # A thread or task that the library has begun meanwhile keeps this scope.
        return self._above.below() if self._over else None

    def tag(self, key: str, value: str) -> None:
        if self._span is not None:
            self._span["tags"].append([key, value])

    def log(self, kind: str, message: str) -> None:
        """An error that is no exception."""
        if self._span is not None:
            data = [["event", "error"], ["error.kind", kind], ["message", message[:_MAX_TEXT]]]
            self._span["logs"] = [{"at": self._recording.now(), "data": data}]

    def end(self, error: BaseException | None = None, *, failed: bool = False) -> None:
        """The call was answered, or failed by error. failed: the answer itself says so."""
        try:
            self._over = True
            if self._reset is not None:
                _leave(self._reset)
            span = self._span
            if span is None:
                return
            self._span = None  # a second end() adds nothing
            now = self._recording.now()
            span["duration"] = now - span["begin"]
            if error is not None:
                span["logs"] = [{"at": now, "data": errors.describe(error)}]
            if failed or error is not None:
                span["error"] = True
            self._recording.add_span(span)
        except Exception:
            log.internal_error("the end of a call")


def _leave(reset: Token[Scope | None]) -> None:
    with suppress(ValueError):  # closed by the garbage collector, in another context
        current.reset(reset)


def place() -> tuple[Scope, Recording, int] | None:
    """Where a call of the running code would hang. None: there is nothing to trace."""
    above = find_scope()
    below = None if above is None else above.below()
    return None if above is None or below is None else (above, *below)


def new_span(recording: Recording, parent: int, target: Target) -> wire.Span | None:
    """None when the span would not be reported."""
    span = recording.new_span()
    if span == ENTRY_SPAN:
        return None
    component, layer, operation, peer, tags = target
    for tag in tags:
        if len(tag[1]) > _MAX_TEXT:
            tag[1] = tag[1][:_MAX_TEXT]
    return {
        "id": span,
        "parent": parent,
        "type": "exit",
        "layer": layer,
        "component": component,
        "operation": operation[:_MAX_NAME],
        "peer": peer[:_MAX_NAME],
        "tags": tags,
        "begin": recording.now(),
    }


def start(describe: Describe, *args: Any, is_current: bool = True, **kwargs: Any) -> Call | None:
    """Begins the call that these arguments make. None: there is nothing to trace."""
    try:
        found = place()
        if found is None:
            return None
        above, recording, parent = found
        target = describe(*args, **kwargs)
        span = None if target is None else new_span(recording, parent, target)
        return None if span is None else Call(above, recording, span, is_current=is_current)
    except Exception:
        log.internal_error(getattr(describe, "__module__", "a plugin"))
        return None


def traced(describe: Describe) -> Wrapper:
    """For Patches.wrap: a span around each call of a function; describe gets its arguments."""

    def make(original: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = start(describe, *args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if call is not None:
                    call.end(error)
                errors.forget_own_frame(error)
                raise
            if call is not None:
                call.end()
            return result

        return wrapper

    return make


def traced_method(owner: type, name: str, describe: Describe) -> Any:
    """A method for a class below owner: owner's own, with a span around each call."""
    original = getattr(owner, name)
    return functools.wraps(original)(traced(describe)(original))


def traced_async(describe: Describe) -> Wrapper:
    """The same for a function whose result is awaited."""

    def make(original: Any) -> Any:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = start(describe, *args, **kwargs)
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                if call is not None:
                    call.end(error)
                errors.forget_own_frame(error)
                raise
            if call is not None:
                call.end()
            return result

        return wrapper

    return make
