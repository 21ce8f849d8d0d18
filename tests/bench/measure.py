# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: CPU time as the kernel counts it, the spread of samples, tables, the machine."""

from __future__ import annotations

import contextlib
import datetime
import platform
import re
import resource
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.process import ROOT, Process, Stage, free_port

BUILD = ROOT / "build" / "bench"


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state parent": a name may hold blanks and parentheses
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found


def cpu_ns(pid: int, counts: Callable[[str], bool] = lambda _: True) -> int:
    """Nanoseconds on a CPU of all threads of the family whose name counts. No thread may end between two
    calls that are to be compared: its time would be gone."""
    total = 0
    for process in family(pid):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if counts((task / "comm").read_text().rstrip("\n")):
                    total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_mb(pid: int) -> float:
    """Resident memory of the family; pages that its members share count in each."""
    total_kb = 0
    for process in family(pid):
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.M)
        total_kb += int(found.group(1)) if found else 0
    return total_kb / 1024


def allow_connections(count: int) -> None:
    """Raises the limit of open files for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))


@dataclass
class Spread:
    """One figure over all rounds."""

    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def __str__(self) -> str:
        return f"{min(self.samples):.1f} / {self.median:.1f} / {max(self.samples):.1f}"


Item = TypeVar("Item")


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """Each round begins with another contender, so that none always has the warmest machine."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Where and when: figures of two machines, or of two days, are not to be compared."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    model = models[0] if models else platform.machine()
    kernel = platform.release().partition("-")[0]
    return f"{model}, {len(models)} cores, Linux {kernel}, {today}"


def first_line(*argv: str | Path) -> str:
    """What a program says about its version, wherever it says it."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def compiled(name: str) -> Path:
    """tests/bench/NAME.c, built for speed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    source, program = Path(__file__).parent / f"{name}.c", BUILD / name
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, source, "-o", program], check=True)
    return program


class Printed(Process):
    """A program that prints the port it listens on as its first line."""

    def __init__(self, stage: Stage, name: str, argv: Sequence[str | Path]) -> None:
        super().__init__(stage, name, argv)
        self.spawn()
        self.ready(lambda: "\n" in self.log(), timeout=10)
        self.port = int(self.log().split()[0])


class Sink(Process):
    """Takes any gRPC call of the SkyWalking agents and answers it with an empty message and status 0.

    nghttpd in place of a collector in Python: at some ten thousand segments a second the latter would need
    more CPU than the machine has, and the contenders would starve. Windows as grpc-java's."""

    CALLS = (
        "TraceSegmentReportService/collect",
        "TraceSegmentReportService/collectInSync",
        "ManagementService/reportInstanceProperties",
        "ManagementService/keepAlive",
        "MeterReportService/collect",
        "LogReportService/collect",
        "ProfileTask/getProfileTaskCommands",
    )

    def __init__(self, stage: Stage) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        documents = stage.path("sink")
        for call in self.CALLS:
            answer = documents / f"skywalking.v3.{call}"
            answer.parent.mkdir(parents=True, exist_ok=True)
            answer.write_bytes(bytes(5))
        nghttpd = shutil.which("nghttpd")
        assert nghttpd, "nghttpd is missing: Debian package nghttp2-server"
        windows = ["--window-bits=20", "--connection-window-bits=20"]
        trailer = "--trailer=grpc-status: 0"
        address = ["--address=127.0.0.1", f"--htdocs={documents}", str(self.port)]
        super().__init__(stage, "sink", [nghttpd, "--no-tls", "--no-content-length", *windows, trailer, *address])
        self.spawn()
