# SPDX-License-Identifier: Apache-2.0
"""An outgoing call as an Exit span, whatever the library.

Happy path: start() -> the library does its work, whose own calls below add nothing -> end().
Nothing is recorded: outside of what is recorded, within another call, or for a request that will
not be reported. What fails here is logged once, and the app's call goes on without a span.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from skystitch import errors, log
from skystitch.scope import ENTRY_SPAN, Recorder, Scope
from skystitch.spans import OpenSpan, place


class Target(NamedTuple):
    """What is called, as SkyWalking shows it. The texts may be of any length and content."""

    component: int
    layer: str  # database, cache, mq, http, rpc
    operation: str
    peer: str  # host:port, or what names the server otherwise; never empty
    tags: list[str]  # as wire.tag() writes them


class Ignored:
    """Calls that are not shown: SW_PLUGIN_HTTP_IGNORE_METHOD, SW_PLUGIN_GRPC_IGNORED_METHODS; all
    in upper case."""

    http_methods: frozenset[str] = frozenset()
    grpc_methods: frozenset[str] = frozenset()


#: Says where a call goes, from its arguments. None: this one is not to be shown.
Describe = Callable[..., "Target | None"]
Wrapper = Callable[[Any], Any]


class Call(OpenSpan):
    """One call until end(). While it lasts it is the current scope, so that a library below the one
    that began it adds no span of its own."""

    __slots__ = ("above",)

    above: Scope  # what it was begun in

    def below(self) -> tuple[Recorder, int] | None:
        # A thread or task that the library has begun meanwhile keeps this scope.
        return self.above.below() if self._reset is None else None

    def propagated(self, peer: str) -> dict[str, str]:
        """What the call takes along to peer."""
        return self._recorder.propagated(self._span, peer)


def start(
    describe: Describe, *args: Any, is_current: bool = True, carries: bool = False, **kwargs: Any
) -> Call | None:
    """Begins the call that these arguments make. None: there is nothing to trace. is_current: False
    for a call that may end in another context than it began in. carries: the trace goes along, even
    where the span is not reported."""
    return _start(describe, args, kwargs, is_current, carries)


def _start(
    describe: Describe,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_current: bool = True,
    carries: bool = False,
) -> Call | None:
    try:
        found = place()
        if found is None:
            return None
        above, recorder, parent = found
        target = describe(*args, **kwargs)
        if target is None:
            return None
        span = recorder.new_span()
        if span == ENTRY_SPAN and not carries:
            return None
        component, layer, operation, peer, tags = target
        call = Call(recorder, span, parent, "exit", layer, component, operation, peer, tags)
        call.above = above
        if is_current:
            call.enter()
        return call
    except Exception:
        log.internal_error(getattr(describe, "__module__", "a plugin"))
        return None


def traced(describe: Describe) -> Wrapper:
    """For Patches.wrap: a span around each call of a function; describe gets its arguments."""

    def make(original: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = _start(describe, args, kwargs)
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
            call = _start(describe, args, kwargs)
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
