# SPDX-License-Identifier: Apache-2.0
"""What an app may say of itself: its names are those of the package, `skystitch.span` and so on.

All of it may be called anywhere and at any time: outside of what is traced it does nothing. None of
it raises, but for what the app's own code raises within it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Generator, Mapping
from types import TracebackType
from typing import Any, Callable, TypeVar, overload

from skystitch import errors, log, spans, wire
from skystitch.scope import Recorder, Scope, current, find_scope

Function = TypeVar("Function", bound=Callable[..., Any])

_MAX_CORRELATION = 3
_MAX_CORRELATION_LENGTH = 128


class span:  # noqa: N801 (it is used like a function)
    """A Local span around the block of a `with` (or `async with`).

        with skystitch.span("resize", tags={"size": "640"}) as resizing:
            ...
            resizing.tag("result", "cached")

    Calls and spans within the block hang below it. An exception that leaves the block is noted on
    the span and goes on. Outside of a request it is a segment of its own if SKYSTITCH_CHANNEL is
    set. component and layer are SkyWalking's, for those who know them.
    """

    __slots__ = ("_component", "_layer", "_operation", "_span", "_tags")

    def __init__(
        self,
        operation: str,
        *,
        tags: Mapping[str, object] | None = None,
        component: int = 0,
        layer: str = "unknown",
    ) -> None:
        self._operation = str(operation)
        self._tags = tags
        self._component = component
        self._layer = layer
        self._span: spans.LocalSpan | None = None

    def __enter__(self) -> span:
        self._span = _open(self._operation, self._component, self._layer, self._tags)
        if self._span is not None:
            self._span.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _close(self._span, error)

    async def __aenter__(self) -> span:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def tag(self, key: str, value: object) -> None:
        """Adds a tag to this span."""
        if self._span is not None:
            self._span.tag(str(key), str(value))

    def log(self, event: str, **fields: object) -> None:
        """Notes an event of now on this span."""
        if self._span is not None:
            self._span.log(_log_data(event, fields))

    def error(self, error: BaseException | None = None) -> None:
        """Marks this span as an error; with an exception, notes it too."""
        if self._span is None:
            return
        if error is not None:
            self._span.log(errors.describe(error))
        self._span.fail()


@overload
def trace(op: Function) -> Function: ...


@overload
def trace(
    op: str | None = None,
    *,
    layer: str = "unknown",
    component: int = 0,
    tags: Mapping[str, object] | None = None,
) -> Callable[[Function], Function]: ...


def trace(
    op: Any = None,
    *,
    layer: str = "unknown",
    component: int = 0,
    tags: Mapping[str, object] | None = None,
) -> Any:
    """A Local span around each call of a function: plain, async, a generator or an async one.

        @skystitch.trace
        def price(item): ...

        @skystitch.trace("price of all", tags={"kind": "batch"})
        async def prices(items): ...

    Without a name it is the function's, with its module. A generator's span lasts until it is
    exhausted or closed.
    """
    if callable(op):
        return _traced(op, wire.handler_name(op), component, layer, tags)

    def decorate(function: Any) -> Any:
        return _traced(function, op or wire.handler_name(function), component, layer, tags)

    return decorate


def current_trace_id() -> str:
    """The id of the running trace, for log lines and error pages. Empty when there is none."""
    recorder = _recorder()
    return "" if recorder is None else recorder.trace_id()


def set_tag(key: str, value: object) -> None:
    """Adds a tag to the span that is open: the innermost block of span(), else the app's."""
    scope = find_scope()
    if scope is not None:
        _guarded(scope.tag, str(key), str(value))


def add_log(event: str, **fields: object) -> None:
    """Notes an event of now on the span that is open."""
    scope = find_scope()
    if scope is not None:
        _guarded(scope.log, _log_data(event, fields))


def add_error(error: BaseException) -> None:
    """Notes an exception that the app has handled on the span that is open. The span is not an
    error by that."""
    scope = find_scope()
    if scope is not None:
        _guarded(scope.log, errors.describe(error))


def get_correlation(key: str) -> str:
    """What an earlier service, or this one, has set under that key. Empty when nobody has."""
    recorder = _recorder()
    return "" if recorder is None else recorder.correlation().get(key, "")


def set_correlation(key: str, value: str) -> bool:
    """Sets what all later services of this trace can read; an empty value removes it. False when it
    was not taken: outside of a trace, for a fourth key, or for more than 128 characters."""
    recorder = _recorder()
    if recorder is None or not key or len(value) > _MAX_CORRELATION_LENGTH:
        return False
    elements = recorder.correlation()
    if not value:
        elements.pop(key, None)
        return True
    if key not in elements and len(elements) >= _MAX_CORRELATION:
        return False
    elements[key] = value
    return True


def ignore() -> None:
    """Leaves the running request, or segment, out of what is reported."""
    recorder = _recorder()
    if recorder is not None:
        _guarded(recorder.ignore)


def runnable(function: Function) -> Function:
    """The function, bound to what is traced now: called from another thread, its spans and calls
    hang where they would hang here.

        threading.Thread(target=skystitch.runnable(work)).start()

    ThreadPoolExecutor, asyncio's tasks and asyncio.to_thread() need no such help.
    """
    scope = find_scope()
    return function if scope is None else carried(function, scope)


def carried(function: Any, scope: Scope) -> Any:
    """The function in that scope, from whatever thread it is called."""

    @functools.wraps(function)
    def carried(*args: Any, **kwargs: Any) -> Any:
        reset = current.set(scope)
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)

    return carried


def _recorder() -> Recorder | None:
    scope = find_scope()
    while scope is not None:
        below = scope.below()
        if below is not None:
            return below[0]
        scope = getattr(scope, "above", None)
    return None


def _guarded(method: Callable[..., None], *args: Any) -> None:
    try:
        method(*args)
    except Exception:
        log.internal_error("skystitch.api")


def _log_data(event: str, fields: Mapping[str, object]) -> list[list[str]]:
    return [["event", str(event)], *([str(key), str(value)] for key, value in fields.items())]


def _open(
    operation: str, component: int, layer: str, tags: Mapping[str, object] | None
) -> spans.LocalSpan | None:
    try:
        opened = spans.open_local(operation, int(component), layer, [])
        if opened is not None and tags:
            for key, value in tags.items():
                opened.tag(str(key), str(value))
        return opened
    except Exception:
        log.internal_error("skystitch.span")
        return None


def _close(opened: spans.LocalSpan | None, error: BaseException | None) -> None:
    if opened is not None:
        # A generator that is closed has not failed.
        opened.end(None if isinstance(error, GeneratorExit) else error)


def _traced(
    function: Any, operation: str, component: int, layer: str, tags: Mapping[str, object] | None
) -> Any:
    def opened() -> spans.LocalSpan | None:
        return _open(operation, component, layer, tags)

    if inspect.isasyncgenfunction(function):
        wrapper = _traced_async_generator(function, opened)
    elif inspect.iscoroutinefunction(function):
        wrapper = _traced_coroutine(function, opened)
    elif inspect.isgeneratorfunction(function):
        wrapper = _traced_generator(function, opened)
    else:
        wrapper = _traced_function(function, opened)
    return functools.wraps(function)(wrapper)


def _traced_function(function: Any, opened: Callable[[], spans.LocalSpan | None]) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        made = opened()
        if made is not None:
            made.enter()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _close(made, error)
            errors.forget_own_frame(error)
            raise
        _close(made, None)
        return result

    return wrapper


def _traced_coroutine(function: Any, opened: Callable[[], spans.LocalSpan | None]) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        made = opened()
        if made is not None:
            made.enter()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            _close(made, error)
            errors.forget_own_frame(error)
            raise
        _close(made, None)
        return result

    return wrapper


# A generator runs in the context of who iterates: its span is the scope only while it runs.


def _traced_generator(function: Any, opened: Callable[[], spans.LocalSpan | None]) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        made = opened()
        generator = function(*args, **kwargs)
        step, value = generator.send, None
        while True:
            try:
                if made is not None:
                    made.enter()
                item = step(value)
            except StopIteration as stop:
                _close(made, None)
                return stop.value
            except BaseException as error:
                _close(made, error)
                errors.forget_own_frame(error)
                raise
            if made is not None:
                made.leave()
            try:
                step, value = generator.send, (yield item)
            except BaseException as error:  # of throw(), or close()
                step, value = generator.throw, error

    return wrapper


def _traced_async_generator(function: Any, opened: Callable[[], spans.LocalSpan | None]) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        made = opened()
        generator = function(*args, **kwargs)
        step, value = generator.asend, None
        while True:
            try:
                if made is not None:
                    made.enter()
                item = await step(value)
            except StopAsyncIteration:
                _close(made, None)
                return
            except BaseException as error:
                _close(made, error)
                errors.forget_own_frame(error)
                raise
            if made is not None:
                made.leave()
            try:
                step, value = generator.asend, (yield item)
            except BaseException as error:  # of athrow(), or aclose()
                step, value = generator.athrow, error

    return wrapper
