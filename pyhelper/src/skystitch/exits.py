# SPDX-License-Identifier: Apache-2.0
"""An outgoing HTTP call as an Exit span of the request that makes it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any
from urllib.parse import urlsplit

from skystitch import errors, log, wire
from skystitch.context import APP_SPAN, ENTRY_SPAN, Recording, Scope, current, find_scope

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CLIENT_ERROR = 400
_MAX_URL = 2048
# An app that hands all headers of its request on must not hand on the proxy's word to this app.
_PROPAGATED = frozenset(("sw8", "sw8-correlation", "sw8-stitch"))


class HttpCall(Scope):
    """One call, from begin() to end(). While it lasts it is the current scope, so that a library
    below the one that began it adds no span of its own."""

    def __init__(self, recording: Recording, sw8: wire.Sw8, component: int, target: Target) -> None:
        span = recording.new_span()
        self._recording = recording
        self._span: wire.Span | None = None
        if span != ENTRY_SPAN:
            self._span = target.span(span, component)
            self._span["begin"] = recording.now()
        #: What goes into a copy of the caller's headers.
        self.headers = {"sw8": wire.exit_sw8(sw8, span, recording.operation(), target.peer)}
        correlation = recording.environ.get("HTTP_SW8_CORRELATION")
        if correlation:
            self.headers["sw8-correlation"] = correlation
        self._reset: Token[Scope | None] = current.set(self)

    def end(self, status: object = None, error: BaseException | None = None) -> None:
        """The call was answered, or failed with error."""
        try:
            current.reset(self._reset)
            span = self._span
            if span is None:
                return
            now = self._recording.now()
            span["duration"] = now - span["begin"]
            if isinstance(status, int):
                span["tags"].append(["http.status_code", str(int(status))])
            if error is not None:
                span["logs"] = [{"at": now, "data": errors.describe(error)}]
            if error is not None or (isinstance(status, int) and status >= _CLIENT_ERROR):
                span["error"] = True
            self._recording.add_span(span)
        except Exception:
            log.internal_error("the end of a call")


class Target:
    """Where a call goes."""

    __slots__ = ("method", "path", "peer", "url")

    def __init__(self, method: str, url: str) -> None:
        """Raises ValueError for what is no http URL with a host."""
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise ValueError(url)
        if ":" in host:
            host = f"[{host}]"
        self.method = method
        self.peer = f"{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
        self.path = parts.path or "/"
        # As called, but without what may be secret.
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def span(self, span: int, component: int) -> wire.Span:
        return {
            "id": span,
            "parent": APP_SPAN,
            "type": "exit",
            "layer": "http",
            "component": component,
            "operation": wire.clean(self.path),
            "peer": wire.clean(self.peer),
            "tags": [
                ["http.method", wire.clean(self.method)],
                ["http.url", wire.clean(self.url[:_MAX_URL])],
            ],
        }


def begin(component: int, method: object, url: object) -> HttpCall | None:
    """Opens a call. None when there is nothing to trace: outside a request that came through the
    proxy, within another call, or for something other than http."""
    recording = find_scope()
    if not isinstance(recording, Recording):
        return None
    try:
        sw8 = recording.sw8()
        if sw8 is None:
            return None
        target = Target(str(method), url.decode() if isinstance(url, bytes) else str(url))
    except ValueError:
        return None
    try:
        return HttpCall(recording, sw8, component, target)
    except Exception:
        log.internal_error("the begin of a call")
        return None


def with_headers(headers: Any, added: dict[str, str]) -> Any:
    """A copy of a call's headers, of the same kind, that carries the trace."""
    copy: Callable[[], Any] | None = getattr(headers, "copy", None)
    copied = copy() if copy is not None else dict(headers or {})
    for name in [name for name in copied if _lower(name) in _PROPAGATED]:
        del copied[name]
    copied.update(added)
    return copied


def _lower(name: object) -> str:
    return name.decode("latin-1").lower() if isinstance(name, bytes) else str(name).lower()
