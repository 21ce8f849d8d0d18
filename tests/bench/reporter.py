# SPDX-License-Identifier: Apache-2.0
"""What reporting costs, and what an outage does to it and to the requests meanwhile.

skystitch stands before the same origin as in the other benchmark and gets requests at a fixed rate from
h2load. Cost is the CPU time of the reporter's threads, as the kernel counts it, per segment that the receiver
confirmed. Then the receiver is killed for a while under the same load, with a spool, and started again.

    ./dev bench reporter [--rate N] [--seconds N] [--outage N] [--binary FILE] [--output FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.process import Stage, until
from harness.skystitch import Skystitch
from measure import Printed, Sink, compiled, cpu_ns, machine, table

CONNECTIONS = 20
SETTLE_S = 2
CONFIRMED = "skystitch_segments_confirmed_total"


@dataclass
class Latency:
    """Of the requests of one load."""

    count: int
    per_second: float
    p50_ms: float
    p99_ms: float

    def cells(self) -> list[str]:
        return [f"{self.per_second:,.0f}", f"{self.p50_ms:.2f}", f"{self.p99_ms:.2f}"]


def load(stage: Stage, port: int, rate: int, seconds: int) -> Latency:
    log = stage.path("h2load.log")
    log.unlink(missing_ok=True)
    shape = ["--h1", f"-c{CONNECTIONS}", f"-D{seconds}", f"--rps={rate / CONNECTIONS}", f"--log-file={log}"]
    argv = ["h2load", *shape, f"http://127.0.0.1:{port}/"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=True)
    assert " 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    times_us = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    count = len(times_us)
    return Latency(count, count / seconds, times_us[count // 2] / 1000, times_us[count * 99 // 100] / 1000)


@dataclass
class Cost:
    latency: Latency
    reporter_us: float
    spool_us: float
    wire_bytes: float


def cost(stage: Stage, proxy: Skystitch, rate: int, seconds: int) -> Cost:
    load(stage, proxy.port, rate, 1)
    time.sleep(SETTLE_S)
    threads = ("sky-reporter", "sky-spool")
    before = [cpu_ns(proxy.pid, lambda name, wanted=thread: name == wanted) for thread in threads]
    confirmed, sent = proxy.metric(CONFIRMED), proxy.metric("skystitch_backend_bytes_total")
    latency = load(stage, proxy.port, rate, seconds)
    time.sleep(SETTLE_S)
    segments = proxy.metric(CONFIRMED) - confirmed
    spent = [
        (cpu_ns(proxy.pid, lambda name, wanted=thread: name == wanted) - ns) / 1000 / segments
        for thread, ns in zip(threads, before, strict=True)
    ]
    bytes_each = (proxy.metric("skystitch_backend_bytes_total") - sent) / segments
    return Cost(latency, spent[0], spent[1], bytes_each)


@dataclass
class Outage:
    latency: Latency
    spooled: float
    caught_up_s: float
    lost: float
    spool_us: float


def outage(stage: Stage, proxy: Skystitch, sink: Sink, rate: int, seconds: int) -> Outage:
    """Under load all the time that the receiver is away; then until each segment is confirmed."""
    before = cpu_ns(proxy.pid, lambda name: name == "sky-spool")
    sink.kill()
    latency = load(stage, proxy.port, rate, seconds)
    spooled = proxy.metric("skystitch_spool_segments")
    sink.spawn()
    began = time.monotonic()
    made = proxy.metric("skystitch_segments_made_total")
    until(lambda: proxy.metric(CONFIRMED) >= made, "it has caught up", timeout=300)
    caught_up_s = time.monotonic() - began
    lost = proxy.metric("skystitch_segments_dropped_total")
    spent = cpu_ns(proxy.pid, lambda name: name == "sky-spool") - before
    return Outage(latency, spooled, caught_up_s, lost, spent / 1000 / max(spooled, 1))


def start(stage: Stage, origin: Printed, sink: Sink, name: str, **reporter: Any) -> Skystitch:
    config = {"reporter": {"batch": {"interval": "1s"}, **reporter}, "local": {"enabled": False}}
    proxy = Skystitch(stage, f"127.0.0.1:{origin.port}", name=name, collector=sink.address, config=config)
    until(lambda: proxy.metric("skystitch_backend_up") == 1, f"{name} reports")
    return proxy


def report(arguments: argparse.Namespace, costs: dict[str, Cost], gone: Outage) -> str:
    head = ["", "reporter thread, µs", "spool thread, µs", "bytes on the wire"]
    lines = [
        [label, f"{one.reporter_us:.2f}", f"{one.spool_us:.2f}", f"{one.wire_bytes:.0f}"]
        for label, one in costs.items()
    ]
    calm = costs["gRPC"].latency
    return "\n".join(
        [
            f"{machine()}. {arguments.rate:,} requests/s on {CONNECTIONS} connections, {arguments.seconds} s.",
            "",
            "Per segment:",
            "",
            table(head, lines),
            "",
            f"Receiver away for {arguments.outage} s:",
            "",
            table(
                ["", "requests/s", "p50, ms", "p99, ms"],
                [["receiver there", *calm.cells()], ["receiver away", *gone.latency.cells()]],
            ),
            "",
            f"{gone.latency.count:,} segments were made meanwhile, {gone.spooled:,.0f} of them were on disk at the "
            f"end; {gone.lost:.0f} were lost; all were confirmed {gone.caught_up_s:.1f} s after the receiver came "
            f"back. The spool's thread took {gone.spool_us:.2f} µs for a segment, written and read.",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--outage", type=int, default=60)
    parser.add_argument("--binary", type=Path, default=Skystitch.binary)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    Skystitch.binary = arguments.binary
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(Path(directory))
        try:
            origin, sink = Printed(stage, "origin", [compiled("origin")]), Sink(stage)
            plain = start(stage, origin, sink, "plain")
            zipped = start(stage, origin, sink, "zipped", gzip=True)
            spooling = start(stage, origin, sink, "spooling", spool={"path": str(stage.path("spool"))})
            costs = {
                "gRPC": cost(stage, plain, arguments.rate, arguments.seconds),
                "gRPC, gzip": cost(stage, zipped, arguments.rate, arguments.seconds),
                "gRPC, with a spool that is not needed": cost(stage, spooling, arguments.rate, arguments.seconds),
            }
            text = report(arguments, costs, outage(stage, spooling, sink, arguments.rate, arguments.outage))
        finally:
            stage.close()
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
