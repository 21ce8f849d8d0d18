# SPDX-License-Identifier: Apache-2.0
"""What the running code is part of, and where its spans go."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Callable

from skystitch import wire

ENTRY_SPAN = 0  # the proxy's


class Scope:
    """What the running code is part of: a request, a span within it, or an outgoing call."""

    __slots__ = ()

    def below(self) -> tuple[Recorder, int] | None:
        """What records the spans below this one, and the id of their parent. None while a call
        goes out: what libraries do for it is part of it."""
        raise NotImplementedError

    def tag(self, key: str, value: str) -> None:
        """Says something of the span that is open here."""
        raise NotImplementedError

    def log(self, data: list[list[str]]) -> None:
        """Notes an event of now on the span that is open here."""
        raise NotImplementedError


class Recorder(Scope):
    """What collects the spans of one segment: of a request, or of one's own (see own)."""

    zero: int  # perf_counter_ns() where the segment's times begin; known once it has a span
    _correlation: dict[str, str] | None = None  # once the app has asked for it

    def now(self) -> int:
        """Microseconds after the segment's begin."""
        raise NotImplementedError

    def new_span(self) -> int:
        """The id for a span. ENTRY_SPAN when the span would not be reported: a callee that refers
        to it then still hangs in the right place of the trace."""
        raise NotImplementedError

    def add_span(self, span: int, text: str) -> None:
        """A span has ended: its id, and all of it as wire.span() writes it."""
        raise NotImplementedError

    def trace_id(self) -> str:
        raise NotImplementedError

    def names(self, span: int) -> tuple[str, str, int, str]:
        """Trace, segment, span and operation as SkyWalking knows them, for a log record; the trace
        is empty when it is not known."""
        raise NotImplementedError

    def ignore(self) -> None:
        """Nothing of this is to be reported."""
        raise NotImplementedError

    def propagated(self, span: int, peer: str) -> dict[str, str]:
        """What a call from that span to peer takes along; empty when that is not known."""
        raise NotImplementedError

    def correlation(self) -> dict[str, str]:
        """What travels with the trace; changes go with later calls."""
        if self._correlation is None:
            self._correlation = wire.parse_correlation(self._received_correlation())
        return self._correlation

    def _received_correlation(self) -> str:
        raise NotImplementedError

    def _add_correlation(self, headers: dict[str, str]) -> None:
        changed = self._correlation
        received = self._received_correlation() if changed is None else ""
        value = received if changed is None else wire.write_correlation(changed)
        if value:
            headers["sw8-correlation"] = value


current: ContextVar[Scope | None] = ContextVar("skystitch", default=None)

#: Where else a plugin looks for the running request: a framework that has a context variable of its
#: own spares each request the setting of ours.
finders: list[Callable[[], Scope | None]] = []


def find_scope() -> Scope | None:
    """What the running code is part of; None outside of recorded requests."""
    scope = current.get()
    if scope is None:
        for find in finders:
            scope = find()
            if scope is not None:
                break
    return scope
