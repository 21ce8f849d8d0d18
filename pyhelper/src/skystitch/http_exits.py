# SPDX-License-Identifier: Apache-2.0
"""An outgoing HTTP call: where it goes, and the trace that goes with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from skystitch import exits, log
from skystitch.spans import place
from skystitch.wire import quoted

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_MAX_PORT = 65535
# Scheme, host and port of a URL (RFC 3986, 3); what stands before an @ is left out.
_ORIGIN = re.compile(
    r"(https?)://(?:[^/?#\\]*@)?(\[[0-9a-f:.]+\]|[^/?#:@\[\]\\\s]+)(?::([0-9]*))?", re.IGNORECASE
)
_LONGEST_SCHEME = len("https://")
_MAX_ORIGINS = 512
_MAX_ORIGIN = 300
_CLIENT_ERROR = 400
_MAX_URL = 2048
#: What calls of ours carry. An app that hands all headers of its request on must not hand on those
#: of its own request, least of all the proxy's word to it.
PROPAGATED = frozenset(("sw8", "sw8-correlation", "sw8-stitch", "sw8-x"))


class HttpCall(exits.Call):
    """One call over HTTP, from begin() to answered() or end()."""

    __slots__ = ("headers",)

    headers: dict[str, str]  # what goes into a copy of the caller's

    def answered(self, status: object) -> None:
        """The call was answered by this status; anything but a number is none."""
        if not isinstance(status, int):
            self.end()
            return
        self._tags.append(f'["http.status_code","{int(status)}"]')
        self.end(failed=status >= _CLIENT_ERROR)


# Those called before, as peer and as shown: an app calls few, again and again.
_origins: dict[str, tuple[str, str]] = {}


def target(url: str) -> tuple[str, str, str]:
    """Where a call goes: the path, the peer, and the URL as it is shown, which is as called but
    without what may be secret. Raises ValueError for what is no http URL with a host."""
    if "?" in url:
        url = url.partition("?")[0]
    if "#" in url:
        url = url.partition("#")[0]
    end = url.find("/", _LONGEST_SCHEME)
    origin, path = (url, "") if end < 0 else (url[:end], url[end:])
    peer, shown = _origins.get(origin) or _learn_origin(origin)
    return path or "/", peer, f"{shown}{path}"


def _learn_origin(origin: str) -> tuple[str, str]:
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise ValueError(origin)
    scheme, host, port = match.groups()
    if port:
        if int(port) > _MAX_PORT:
            raise ValueError(origin)
        shown = f"{scheme}://{host}:{port}"
    else:
        port = _DEFAULT_PORTS[scheme.lower()]
        shown = f"{scheme}://{host}"
    known = f"{host.lower()}:{port}", shown
    if "@" not in origin and len(origin) <= _MAX_ORIGIN:
        if len(_origins) >= _MAX_ORIGINS:
            _origins.clear()
        _origins[origin] = known
    return known


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
        if type(method) is not str:
            method = method.decode() if isinstance(method, bytes) else str(method)
        if exits.Ignored.http_methods and method.upper() in exits.Ignored.http_methods:
            return None
        if type(url) is not str:
            url = url.decode() if isinstance(url, bytes) else str(url)
        path, peer, shown = target(url)
        span = recorder.new_span()
        told = f'["http.method",{quoted(method)}],["http.url",{quoted(shown[:_MAX_URL])}]'
        call = HttpCall(recorder, span, parent, "exit", "http", component, path, peer, [told])
        call.above = above
        call.headers = recorder.propagated(span, peer)
        if is_current:
            call.enter()
        return call
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
    for name, value in added.items():
        copied[name] = value
    return copied


def is_propagated(name: object) -> bool:
    """Whether a header is one of those that a call of ours carries."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and name.lower() in PROPAGATED
