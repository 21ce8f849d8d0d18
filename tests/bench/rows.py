# SPDX-License-Identifier: Apache-2.0
"""What clients may do: the rows of the benchmark, and the load generators that do it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

KIB, MIB = 1024, 1024 * 1024
PATIENCE_S = 20  # h2load waits for ever at times, whatever it has been told of seconds


@dataclass(frozen=True)
class Load:
    name: str
    label: str
    connections: int = 32
    path: str = "/"
    body_bytes: int = 0  # of a POST; 0: a GET
    tls: bool = False
    http2_streams: int = 0  # at a time on each connection; 0: HTTP/1
    keep_alive: bool = True
    not_by: frozenset[str] = frozenset()  # contenders that cannot

    def argv(self, port: int, seconds: int, directory: Path) -> list[str]:
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}{self.path}"
        if self.http2_streams:
            data = directory / f"{self.name}.body"
            data.write_bytes(b"x" * self.body_bytes)
            body = ["-d", str(data)] if self.body_bytes else []
            streams = ["-t1", "-c", str(self.connections), "-m", str(self.http2_streams)]
            return ["h2load", *streams, "-D", str(seconds), *body, url]
        argv = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s"]
        if self.body_bytes:
            script = directory / f"{self.name}.lua"
            script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {self.body_bytes})\n')
            argv += ["-s", str(script)]
        if not self.keep_alive:
            argv += ["-H", "Connection: close"]
        return [*argv, url]

    def run(self, port: int, seconds: int, directory: Path) -> tuple[int, float]:
        """Returns the requests answered and their number per second; fails when one was answered badly, or
        with subprocess.TimeoutExpired, the process being dead then."""
        argv = self.argv(port, seconds, directory)
        output = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + PATIENCE_S).stdout
        return self._read_h2load(output) if self.http2_streams else self._read_wrk(output)

    def _read_wrk(self, output: str) -> tuple[int, float]:
        bad = re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", output)
        assert not bad, f"{bad and bad.group()}\n{output}"
        requests = re.search(r"(\d+) requests in", output)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
        assert requests, output
        assert rate, output
        return int(requests.group(1)), float(rate.group(1))

    def _read_h2load(self, output: str) -> tuple[int, float]:
        counts = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", output)
        rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
        assert counts, output
        assert rate, output
        done, succeeded, failed = map(int, counts.groups())
        assert done == succeeded, output
        assert failed == 0, output
        return done, float(rate.group(1))


PLAIN = Load("plain", "32 connections")
NO_FILES = frozenset({"haproxy"})

ROWS = (
    Load("1", "1 connection", connections=1),
    PLAIN,
    Load("256", "256 connections", connections=256),
    Load("1000", "1,000 connections", connections=1000),
    Load("unix", "unix socket to the origin", path="/unix/"),
    Load("tls", "TLS", tls=True),
    Load("tls-new", "TLS, a new connection for each request", tls=True, keep_alive=False),
    Load("http2", "HTTP/2 over TLS, 10 streams on each of 32 connections", tls=True, http2_streams=10),
    Load("http2-post-100k", "the same, POST of 100 KiB", body_bytes=100 * KIB, tls=True, http2_streams=10),
    Load("post-1k", "POST of 1 KiB", body_bytes=KIB),
    Load("post-100k", "POST of 100 KiB", body_bytes=100 * KIB),
    Load("post-10m", "POST of 10 MiB, 4 connections", connections=4, body_bytes=10 * MIB),
    Load("static-10k", "file of 10 KiB", path="/static/10k.bin", not_by=NO_FILES),
    Load("static-1m", "file of 1 MiB", path="/static/1m.bin", not_by=NO_FILES),
    Load("static-tls-1m", "file of 1 MiB over TLS", path="/static/1m.bin", tls=True, not_by=NO_FILES),
)

FILES = {"10k.bin": 10 * KIB, "1m.bin": MIB}
