# SPDX-License-Identifier: Apache-2.0
"""Talks to reporter_drive, whose commands are described at the top of reporter_drive.c."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Ends a test that has failed; no test waits so long otherwise. Below the 30 s of a call's deadline, so
# that a call which only its deadline ends fails the test.
PATIENCE_S = 20


def wait_until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


class Drive:
    def __init__(self, program: Path, backends: Sequence[str], options: dict[str, object], log_path: Path) -> None:
        arguments = [f"backend={backend}" for backend in backends]
        arguments += [f"{key}={value}" for key, value in options.items()]
        self.log_path = log_path
        self.is_killed = False
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def log(self) -> str:
        """What it has said on stderr so far."""
        return self.log_path.read_text()

    def ask(self, line: str) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"reporter_drive ended with {self.process.wait()}"
        return answer

    def push(self, count: int, size: int = 100, operation: str = "/x") -> None:
        self.ask(f"push {count} {size} {operation}")

    def counters(self) -> dict[str, int]:
        return json.loads(self.ask("counters"))

    def wait(self, **expected: int) -> dict[str, int]:
        """Until each counter named has its value and the sum is right, all at once: what is between two threads
        is for a moment with neither."""
        seen: dict[str, int] = {}

        def is_so() -> bool:
            seen.update(self.counters())
            return expected.items() <= seen.items() and missing(seen) == 0

        wait_until(is_so, lambda: f"waited for {expected} and a right sum, got {seen}")
        return seen

    def wait_at_least(self, **expected: int) -> dict[str, int]:
        wait_until(
            lambda: all(self.counters()[name] >= value for name, value in expected.items()),
            lambda: f"waited for {expected}, got {self.counters()}",
        )
        return self.counters()

    def settle(self) -> dict[str, int]:
        """Until the rings are empty."""
        wait_until(lambda: missing(self.counters()) == 0, self.counters)
        return self.counters()

    def stop(self, deadline_ms: int) -> dict[str, int]:
        return assert_sum(json.loads(self.ask(f"stop {deadline_ms}")))

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait()
        self.is_killed = True

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.is_killed:
            self.process.stdout.close()
            return
        try:
            assert self.process.wait(PATIENCE_S) == 0
        finally:
            self.process.kill()
            self.process.stdout.close()
            print(self.log(), file=sys.stderr)


def missing(counters: dict[str, int]) -> int:
    dropped = sum(value for name, value in counters.items() if name.startswith("dropped_"))
    held = counters["backlog_segments"] + counters["spool_segments"]
    return counters["segments"] + counters["spool_found"] - counters["confirmed"] - dropped - held


def assert_sum(counters: dict[str, int]) -> dict[str, int]:
    assert missing(counters) == 0, counters
    return counters
