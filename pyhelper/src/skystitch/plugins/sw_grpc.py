# SPDX-License-Identifier: Apache-2.0
"""grpc's client, sync and aio: one Exit span for each call, until its status is there.

Channels get an interceptor of ours, the first of all.
"""

from __future__ import annotations

import collections
from typing import Any, Callable

from skystitch import errors, exits, log, wire
from skystitch.patches import Patches, require

COMPONENT = 23


_patches = Patches()


def install() -> None:
    if _patches:
        return
    import grpc  # the app has imported it

    require(grpc, "insecure_channel", "secure_channel", "intercept_channel")
    _patches.wrap(grpc, "insecure_channel", _wrap_channel)
    _patches.wrap(grpc, "secure_channel", _wrap_channel)
    aio = getattr(grpc, "aio", None)
    if aio is not None:
        _patches.wrap(aio, "insecure_channel", _wrap_aio_channel)
        _patches.wrap(aio, "secure_channel", _wrap_aio_channel)


def uninstall() -> None:
    _patches.restore()


def _wrap_channel(original: Callable[..., Any]) -> Callable[..., Any]:
    import grpc

    interceptor = _make_interceptor()

    def channel(target: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            made = original(target, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        return grpc.intercept_channel(made, interceptor(str(target)))

    return channel


def _wrap_aio_channel(original: Callable[..., Any]) -> Callable[..., Any]:
    make = _make_aio_interceptors()

    def channel(target: Any, *args: Any, interceptors: Any = None, **kwargs: Any) -> Any:
        ours = make(str(target))
        try:
            return original(target, *args, interceptors=[*ours, *(interceptors or ())], **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return channel


def _peer(target: str) -> str:
    """host:port of a target, which may be a URI of the resolver's."""
    for prefix in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        if target.startswith(prefix):
            return target[len(prefix) :].rpartition("/")[2]
    return target


def _describe(target: str, method: str) -> exits.Target | None:
    if method.upper() in exits.Ignored.grpc_methods:
        return None
    peer = _peer(target)
    tags = [wire.tag("grpc.method", method), wire.tag("grpc.url", peer)]
    return exits.Target(COMPONENT, "rpc", method, peer, tags)


def _begin(target: str, details: Any) -> exits.Call | None:
    method = details.method
    method = method.decode() if isinstance(method, bytes) else str(method)
    # Its end comes in a thread of grpc's; below it there is no library that we know.
    return exits.start(_describe, target, method, carries=True, is_current=False)


def _metadata(details: Any, target: str, call: exits.Call) -> list[tuple[str, Any]]:
    added = call.propagated(_peer(target))
    given = [(key, value) for key, value in details.metadata or () if key not in added]
    return [*given, *added.items()]


def _end(call: exits.Call, code: Any, error: BaseException | None = None) -> None:
    name = getattr(code, "name", "UNKNOWN")
    call.tag("grpc.status_code", name)
    call.end(error, failed=name != "OK")


_Details = collections.namedtuple(
    "_Details",
    ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression"),
)


def _make_interceptor() -> Any:
    import grpc

    class Details(_Details, grpc.ClientCallDetails):  # type: ignore[misc]
        """A call's details, changed."""

    class Interceptor(
        grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
        grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
        grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
        grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
    ):
        """Of one channel."""

        def __init__(self, target: str) -> None:
            self._target = target

        def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
            call = _begin(self._target, details)
            if call is None:
                return continuation(details, request)
            try:
                details = Details(
                    details.method,
                    details.timeout,
                    _metadata(details, self._target, call),
                    details.credentials,
                    getattr(details, "wait_for_ready", None),
                    getattr(details, "compression", None),
                )
            except Exception:
                log.internal_error("sw_grpc")
            try:
                outcome = continuation(details, request)
            except BaseException as error:
                _end(call, None, error)
                errors.forget_own_frame(error)
                raise
            _end_with(call, outcome)
            return outcome

        intercept_unary_unary = _intercept
        intercept_unary_stream = _intercept
        intercept_stream_unary = _intercept
        intercept_stream_stream = _intercept

    return Interceptor


def _end_with(call: exits.Call, outcome: Any) -> None:
    """When the status is there: at once, or in a thread of grpc's."""

    def done(*_: Any) -> None:
        try:
            error = outcome if isinstance(outcome, BaseException) else None
            code = outcome.code()
            failed = getattr(code, "name", "OK") != "OK"
            _end(call, code, error if failed else None)
        except Exception:
            log.internal_error("sw_grpc")

    try:
        outcome.add_done_callback(done)
    except Exception:
        log.internal_error("sw_grpc")
        call.end()


def _make_aio_interceptors() -> Callable[[str], list[Any]]:
    from grpc import aio

    class Base:
        """Of one channel, for one kind of call: grpc.aio wants an object for each."""

        def __init__(self, target: str) -> None:
            self._target = target

        async def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:
            call = _begin(self._target, details)
            if call is None:
                return await continuation(details, request)
            try:
                metadata = aio.Metadata(*_metadata(details, self._target, call))
                details = details._replace(metadata=metadata)
            except Exception:
                log.internal_error("sw_grpc")
            try:
                made = await continuation(details, request)
            except BaseException as error:
                _end(call, getattr(error, "code", lambda: None)(), error)
                errors.forget_own_frame(error)
                raise
            made.add_done_callback(lambda _: _end_aio(call, made))
            return made

    class UnaryUnary(Base, aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        intercept_unary_unary = Base._intercept

    class UnaryStream(Base, aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
        intercept_unary_stream = Base._intercept

    class StreamUnary(Base, aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
        intercept_stream_unary = Base._intercept

    class StreamStream(Base, aio.StreamStreamClientInterceptor):  # type: ignore[misc]
        intercept_stream_stream = Base._intercept

    kinds = (UnaryUnary, UnaryStream, StreamUnary, StreamStream)
    return lambda target: [kind(target) for kind in kinds]


def _end_aio(call: exits.Call, made: Any) -> None:
    try:
        _end(call, _code_of(made))
    except Exception:
        log.internal_error("sw_grpc")
        call.end()


def _code_of(made: Any) -> Any:
    """The status of a call that is done: to be awaited, but without waiting."""
    coroutine = made.code()
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    return None
