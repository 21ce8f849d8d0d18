# SPDX-License-Identifier: Apache-2.0
"""Requests of frameworks that are servers themselves, neither WSGI nor ASGI in between."""

from __future__ import annotations

from contextvars import Token
from typing import Any, Callable

from skystitch import log
from skystitch.context import FIELD, Environ, Recording
from skystitch.scope import Scope, current

SWITCHED = 101


class ServedRecording(Recording):
    """One request. Subclasses, one a framework, know its route."""

    def add_headers(self, status: int, is_stream: bool, add: Callable[[str, str], Any]) -> None:
        """The head of the answer is about to be written."""
        try:
            if self.answered:
                return
            if is_stream or status == SWITCHED:
                self.expect_stream()
            added: list[tuple[str, str]] = []
            self.complete(added, str(status))
            for name, value in added:
                add(name, value)
        except Exception:
            log.internal_error("the head of an answer")

    def end(self) -> None:
        """The framework is done with the request."""
        if self.answered and self.streams:
            self.end_stream(None)


def no_start_response(*_: Any) -> None:
    """For the recording of a framework that is the server itself: there is none to call."""


def read_environ(method: str, get: Callable[[str], str | None]) -> Environ | None:
    """What a recording needs of the request, as a WSGI environ has it; None if it did not come
    through the proxy, or somebody outside records it. get: tells the value of a header."""
    field = get("sw8-stitch")
    if field is None or isinstance(current.get(), Recording):
        return None
    environ = {
        "REQUEST_METHOD": method,
        FIELD: field,
        "HTTP_SW8": get("sw8") or "",
        "HTTP_SW8_CORRELATION": get("sw8-correlation") or "",
    }
    mode = get("sw8-x")
    if mode:
        environ["HTTP_SW8_X"] = mode
    return environ


def leave(reset: Token[Scope | None]) -> None:
    """The request's call is over."""
    try:
        current.reset(reset)
    except ValueError:  # a call that is given up may be ended in another context
        current.set(None)
