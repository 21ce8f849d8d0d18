# SPDX-License-Identifier: Apache-2.0
"""Segments without a request: of a cron job, a worker of a queue, a shell.

Happy path: segment() or entry() -> its first span, the root, begins -> others -> the root ends ->
one message over the channel that SKYSTITCH_CHANNEL names. The proxy reports it.
Without that option there are none; what cannot be sent is lost, and counted.
"""

from __future__ import annotations

import itertools
import uuid
from time import perf_counter_ns, time_ns
from typing import Any

from skystitch import outbox, wire
from skystitch.scope import ENTRY_SPAN, Recorder, Scope

#: A segment's first span. On the wire to SkyWalking it becomes 0, as all ids one less.
ROOT = 1
_MAX_SPANS = 300
_MAX_REFS = 64


class _Options:
    channel = ""
    service = ""
    instance = ""


def configure(channel: str, service: str, instance: str) -> None:
    _Options.channel = channel
    _Options.service = service
    _Options.instance = instance


class Segment(Recorder):
    """One segment, until its root has ended."""

    def __init__(self, received: list[wire.Sw8], correlation: str = "") -> None:
        """received: the sw8 of whoever caused this; of the first the trace is continued."""
        self.zero = perf_counter_ns()
        self._at = time_ns() // 1000
        self._segment = uuid.uuid4().hex
        self._received = received[:_MAX_REFS]
        self._trace = wire.text_of_base64(received[0].trace_id) if received else uuid.uuid4().hex
        self._sampled = not received or received[0].sample != "0"
        self._given_correlation = correlation
        self._spans: list[str] = []
        self._ids = itertools.count(ROOT)
        self._operation = ""
        self._over = False

    def below(self) -> tuple[Recorder, int] | None:
        return self, ENTRY_SPAN

    def tag(self, key: str, value: str) -> None:
        """There is no span yet."""

    def log(self, data: list[list[str]]) -> None:
        """There is no span yet."""

    def now(self) -> int:
        return (perf_counter_ns() - self.zero) // 1000

    def new_span(self) -> int:
        if not self._sampled or self._over:
            return ENTRY_SPAN
        span = next(self._ids)
        if span <= _MAX_SPANS:
            return span
        outbox.count_lost()
        return ENTRY_SPAN

    def add_span(self, span: int, text: str) -> None:
        if self._over:
            outbox.count_lost()
            return
        if span != ROOT:
            self._spans.append(text)
            return
        self._over = True
        if self._sampled:
            self._send([text, *self._spans])
        self._spans = []

    def name(self, operation: str) -> None:
        """How the segment is called in the sw8 of outgoing calls."""
        self._operation = operation

    def trace_id(self) -> str:
        return self._trace

    def names(self, span: int) -> tuple[str, str, int, str]:
        return self._trace, self._segment, max(0, span - ROOT), self._operation

    def ignore(self) -> None:
        self._sampled = False

    def propagated(self, span: int, peer: str) -> dict[str, str]:
        """Nothing without SKYSTITCH_SERVICE: an sw8 has to say who calls."""
        headers: dict[str, str] = {}
        service = _Options.service
        if service:
            headers["sw8"] = wire.new_sw8(
                "1" if self._sampled else "0",
                self._trace,
                self._segment,
                max(0, span - ROOT),
                (service, _Options.instance or service, self._operation or service, peer),
            )
        self._add_correlation(headers)
        return headers

    def _received_correlation(self) -> str:
        return self._given_correlation

    def _send(self, spans: list[str]) -> None:
        head: dict[str, Any] = {
            "v": 1,
            "segment": self._segment,
            "trace": self._trace,
            "at": self._at,
        }
        if self._received:
            head["refs"] = [sw8.text for sw8 in self._received]
        if _Options.service:
            head["service"] = _Options.service
            head["instance"] = _Options.instance
        messages, dropped = wire.messages(head, spans, max_parts=1)
        if dropped:
            outbox.count_lost(dropped)
        outbox.send_standing(_Options.channel, messages[0])


def is_wanted() -> bool:
    """Whether there are segments without a request in this process."""
    return bool(_Options.channel)


def segment() -> Scope | None:
    """A new segment for what runs outside of everything recorded."""
    if not _Options.channel:
        return None
    return Segment([])


def entry(received: list[str], correlation: str = "") -> Segment | None:
    """A new segment for what was caused by whoever sent these sw8."""
    if not _Options.channel:
        return None
    return Segment([sw8 for sw8 in map(wire.parse_sw8, received) if sw8 is not None], correlation)
