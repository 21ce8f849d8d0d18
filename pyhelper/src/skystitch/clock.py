# SPDX-License-Identifier: Apache-2.0
"""The wall clock of a moment that was read from the monotonic one.

Reading a clock is a notable part of what a request may cost, so the distance of the two clocks is
measured once a second at most. Only a step of the wall clock makes it wrong, for that long."""

from __future__ import annotations

from time import perf_counter_ns, time_ns

_VALID_NS = 1_000_000_000
_TRIES = 3
_GOOD_NS = 20_000


class Distance:
    """From the monotonic clock to the wall clock, in nanoseconds."""

    __slots__ = ("ns", "valid_until")

    def __init__(self) -> None:
        self.ns = 0
        self.valid_until = 0

    def measure(self, now: int) -> None:
        """now: perf_counter_ns(). A measurement during which the process was interrupted is off by
        that time: the shortest of some is taken."""
        best = -1
        for _ in range(_TRIES):
            before = perf_counter_ns()
            wall = time_ns()
            width = perf_counter_ns() - before
            if best < 0 or width < best:
                best = width
                self.ns = wall - before
            if best < _GOOD_NS:
                break
        self.valid_until = now + _VALID_NS


to_wall = Distance()
