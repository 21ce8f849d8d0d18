# SPDX-License-Identifier: Apache-2.0
"""What an outgoing call costs the app that makes it: a part of helper.py's report."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from measure import Spread, rotated, table

KINDS = {"requests": "a call through requests", "redis": "a redis command"}
CONTENDERS = {
    "bare": "without an agent",
    "skystitch": "**skystitch helper**",
    "skywalking": "SkyWalking's Python agent",
    "opentelemetry": "OpenTelemetry, exporter that does nothing",
}
BATCHES_PER_SECOND = 20  # of 10 requests with 20 calls each


class Calls:
    """The figures of all rounds."""

    def __init__(self) -> None:
        self._costs = {(name, kind): Spread() for name in CONTENDERS for kind in KINDS}

    def round(self, number: int, collector: str, seconds: int) -> None:
        for name, kind in rotated(list(self._costs), number):
            command = [name, collector, str(seconds * BATCHES_PER_SECOND), kind]
            done = subprocess.run(
                [sys.executable, Path(__file__).parent / "calls_app.py", *command],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            self._costs[name, kind].samples.append(json.loads(done.stdout.splitlines()[-1]))

    def render(self) -> str:
        head, lines = [""], []
        for kind in KINDS.values():
            head += [f"µs of {kind}", "added"]
        for name, label in CONTENDERS.items():
            line = [label]
            for kind in KINDS:
                cost, bare = self._costs[name, kind], self._costs["bare", kind]
                pairs = zip(cost.samples, bare.samples, strict=True)
                more = statistics.median(here - there for here, there in pairs)
                line += [str(cost), "" if name == "bare" else f"{more:+.1f}"]
            lines.append(line)
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in KINDS)
        return "\n\n".join(
            [
                "Each outgoing call of a Flask request, in the request's thread; nothing goes over a network.",
                table(head, lines),
                f"{versions}.",
            ]
        )
