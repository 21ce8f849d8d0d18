# SPDX-License-Identifier: Apache-2.0
"""An outgoing HTTP call: where it goes, and the trace that goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from skystitch import exits, log, wire
from skystitch.context import Recorder, Scope
from skystitch.spans import place

DEFAULT_PORTS = {"http": 80, "https": 443}
_CLIENT_ERROR = 400
_MAX_URL = 2048
# An app that hands all headers of its request on must not hand on the proxy's word to this app.
_PROPAGATED = frozenset(("sw8", "sw8-correlation", "sw8-stitch"))


class HttpCall(exits.Call):
    """One call over HTTP, from begin() to answered() or end()."""

    __slots__ = ("headers",)

    def __init__(
        self,
        above: Scope,
        recorder: Recorder,
        span: wire.Span | None,
        peer: str,
        is_current: bool,
    ) -> None:
        super().__init__(above, recorder, span, is_current=is_current)
        #: What goes into a copy of the caller's headers.
        self.headers = self.propagated(peer)

    def answered(self, status: object) -> None:
        """The call was answered by this status; anything but a number is none."""
        if not isinstance(status, int):
            self.end()
            return
        self.tag("http.status_code", str(int(status)))
        self.end(failed=status >= _CLIENT_ERROR)


class Target:
    """Where a call goes."""

    __slots__ = ("method", "path", "peer", "url")

    def __init__(self, method: str, url: str) -> None:
        """Raises ValueError for what is no http URL with a host."""
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in DEFAULT_PORTS or not host:
            raise ValueError(url)
        if ":" in host:
            host = f"[{host}]"
        self.method = method
        self.peer = f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"
        self.path = parts.path or "/"
        # As called, but without what may be secret.
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def described(self, component: int) -> exits.Target:
        tags = [["http.method", self.method], ["http.url", self.url[:_MAX_URL]]]
        return exits.Target(component, "http", self.path, self.peer, tags)


def begin(
    component: int, method: object, url: object, *, is_current: bool = True
) -> HttpCall | None:
    """Opens a call. None when there is nothing to trace: outside of what is recorded, within
    another call, or for something other than http."""
    try:
        found = place()
        if found is None:
            return None
        above, recorder, parent = found
        method = method.decode() if isinstance(method, bytes) else str(method)
        if method.upper() in exits.Ignored.http_methods:
            return None
        target = Target(method, url.decode() if isinstance(url, bytes) else str(url))
        span = exits.new_span(recorder, parent, target.described(component))
        return HttpCall(above, recorder, span, target.peer, is_current)
    except ValueError:
        return None
    except Exception:
        log.internal_error("the begin of a call")
        return None


def with_headers(headers: Any, added: dict[str, str]) -> Any:
    """A copy of a call's headers, of the same kind, that carries the trace."""
    copy: Callable[[], Any] | None = getattr(headers, "copy", None)
    copied = copy() if copy is not None else dict(headers or {})
    for name in [name for name in copied if is_propagated(name)]:
        del copied[name]
    copied.update(added)
    return copied


def is_propagated(name: object) -> bool:
    """Whether a header is one of those that a call of ours carries."""
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return text.lower() in _PROPAGATED
