# SPDX-License-Identifier: Apache-2.0
"""What a request costs inside an app: bare, under the skystitch helper, and for Flask under its peers.

Each contender runs in a process of its own, with the same app and the same prepared request, in rounds whose
order rotates. "Request thread" is what delays the answer; "all threads" adds the agent's reporters, which
compete with the app for the interpreter and the CPU.

    ./dev bench helper [--rounds N] [--seconds N] [--output FILE]
    ./dev bench helper --memory     # what a worker keeps after many requests
"""

from __future__ import annotations

import argparse
import compileall
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import skystitch

from calls import Calls
from harness.process import Stage
from measure import Sink, Spread, machine, rotated, table

#: Framework and agent -> what the table calls them. The first of each framework is what the others are compared to.
CONTENDERS = {
    ("flask", "bare"): "Flask alone",
    ("flask", "skystitch"): "**skystitch helper**",
    ("flask", "skywalking"): "SkyWalking's Python agent",
    ("flask", "opentelemetry"): "OpenTelemetry, exporter that does nothing",
    ("django", "bare"): "Django alone, WSGI",
    ("django", "skystitch"): "**skystitch helper**",
    ("django-asgi", "bare"): "Django alone, ASGI",
    ("django-asgi", "skystitch"): "**skystitch helper**",
    ("starlette", "bare"): "Starlette alone",
    ("starlette", "skystitch"): "**skystitch helper**",
}
PACKAGES = [
    "Flask",
    "Django",
    "starlette",
    "apache-skywalking",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-flask",
]
Contender = tuple[str, str]
BATCHES_PER_SECOND = 12  # of 200 requests; about what the slowest contender does


# After so many requests a worker's memory is compared: what is kept of each would show.
WEIGHED = (10_000, 100_000)
MOST_ADDED_MB = 1.0
MOST_GROWN_MB = 0.25  # more than the framework alone; pages come and go


@dataclass
class Result:
    thread_us: Spread = field(default_factory=Spread)
    all_us: Spread = field(default_factory=Spread)
    rss_mb: Spread = field(default_factory=Spread)


def run(what: str, contender: Contender, collector: str, *numbers: int) -> Any:
    program = Path(__file__).parent / "helper_app.py"
    done = subprocess.run(
        [sys.executable, program, what, *contender, collector, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)


def added(spread: Spread, bare: Spread) -> str:
    """The median of the rounds' own differences: what disturbs the machine disturbs both sides of a round."""
    pairs = zip(spread.samples, bare.samples, strict=True)
    return f"{statistics.median(here - there for here, there in pairs):+.1f}"


def render(results: dict[Contender, Result], rounds: int, requests: int) -> str:
    lines = []
    for name, label in CONTENDERS.items():
        result, bare = results[name], results[name[0], "bare"]
        more = ["", "", ""]
        if result is not bare:
            more = [
                added(result.thread_us, bare.thread_us),
                added(result.all_us, bare.all_us),
                added(result.rss_mb, bare.rss_mb),
            ]
        lines.append([label, str(result.thread_us), more[0], str(result.all_us), more[1], more[2]])
    head = ["", "µs in the request thread", "added", "µs in all threads", "added", "MB added"]
    return "\n\n".join(
        [
            f"{machine()}, CPython {sys.version.split()[0]}. {rounds} rounds of {requests} requests each, "
            "min / median / max.",
            table(head, lines),
            f"{versions()}.",
        ]
    )


def weigh() -> str:
    """What the helper adds to a worker's memory, and that it does not grow; fails otherwise."""
    lines, faults = [], []
    bare: list[float] = []
    for name, label in CONTENDERS.items():
        if name[1] not in ("bare", "skystitch"):
            continue
        print(" ".join(name), file=sys.stderr)
        resident = run("weigh", name, "", *WEIGHED)
        if name[1] == "bare":
            bare = resident
            lines.append([label, *(f"{mb:.1f}" for mb in resident), f"{resident[1] - resident[0]:+.2f}", ""])
            continue
        grown, added = resident[1] - resident[0], resident[1] - bare[1]
        lines.append([label, *(f"{mb:.1f}" for mb in resident), f"{grown:+.2f}", f"{added:+.2f}"])
        if grown - max(0.0, bare[1] - bare[0]) > MOST_GROWN_MB or added > MOST_ADDED_MB:
            faults.append(f"{name[0]}: grown by {grown:.2f} MB, {added:.2f} MB more than alone")
    head = ["MB resident", *(f"after {count:,} requests" for count in WEIGHED), "grown", "added"]
    assert not faults, f"{table(head, lines)}\n{faults}"
    return table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="about so long a contender and round")
    parser.add_argument("--binary", type=Path, help="not used: this benchmark has no proxy")
    parser.add_argument("--output", type=Path, help="write the table to this file as well")
    parser.add_argument("--memory", action="store_true", help="the memory after many requests, and nothing else")
    arguments = parser.parse_args()
    # As pip leaves a package: a process that compiles its modules keeps a megabyte that this took.
    compileall.compile_dir(Path(skystitch.__file__).parent, quiet=1)
    if arguments.memory:
        print(weigh())
        return
    batches = arguments.seconds * BATCHES_PER_SECOND
    results = {name: Result() for name in CONTENDERS}
    calls = Calls()
    with tempfile.TemporaryDirectory(prefix="skystitch-bench-") as directory:
        stage = Stage(Path(directory))
        try:
            sink = Sink(stage)
            for number in range(arguments.rounds):
                for name in rotated(list(CONTENDERS), number):
                    print(f"round {number + 1}/{arguments.rounds}: {' '.join(name)}", file=sys.stderr)
                    figures = run("measure", name, sink.address, batches)
                    for figure, value in figures.items():
                        getattr(results[name], figure).samples.append(value)
                print(f"round {number + 1}/{arguments.rounds}: outgoing calls", file=sys.stderr)
                calls.round(number, sink.address, arguments.seconds)
        finally:
            stage.close()
    text = f"{render(results, arguments.rounds, batches * 200)}\n\n{calls.render()}"
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
