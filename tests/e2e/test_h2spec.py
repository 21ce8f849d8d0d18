# SPDX-License-Identifier: Apache-2.0
"""All of h2spec, in strict mode, through TLS and without it.

The newest version that Go's module proxy has, 2.2.1, knows 146 tests, the newest there is, 2.6.0, 147: one that is
on the PATH is taken. What 2.6.0 asks beyond is in test_http2_refusals.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import Origin, Pki, Skystitch, Stage, free_port
from harness.process import ROOT

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]
TESTS = 146
# A body that windows can cut.
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz"
SUMMARY = re.compile(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")

# What begins otherwise on a port without TLS is a request of HTTP/1.
NOT_WITHOUT_TLS = {"Sends invalid connection preface"}


@pytest.fixture(scope="module")
def h2spec() -> Path:
    installed = shutil.which("h2spec")
    if installed is not None:
        return Path(installed)
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        pytest.skip("h2spec is written in Go, and there is no go here")
    binary = ROOT / "build" / "h2spec"
    built = subprocess.run(
        [go, "build", "-o", binary, "github.com/summerwind/h2spec/cmd/h2spec"],
        cwd=ROOT / "tests" / "h2spec",
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    if built.returncode != 0 and re.search(r"dial tcp|Forbidden|no such host|proxyconnect|timeout", built.stderr):
        pytest.skip(f"Go's modules cannot be had here: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return binary


def run(h2spec: Path, port: int, *options: str) -> tuple[tuple[int, ...], set[str]]:
    """What the summary says, and the names of the tests that failed."""
    command = [h2spec, "--strict", "--host", "127.0.0.1", "--port", str(port), *options]
    output = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    summary = SUMMARY.search(output)
    assert summary, output
    failures = output.partition("Failures:")[2]
    return tuple(map(int, summary.groups())), set(re.findall("\u00d7 \\d+: (.*)", failures))


def test_tls(stage: Stage, h2spec: Path) -> None:
    pair = Pki(stage.directory).sign("server", "DNS:localhost", "IP:127.0.0.1")
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": pair.config()}]
    Skystitch(stage, Origin(stage, ANSWER).address, port=port, config={"listen": listen})
    counts, failed = run(h2spec, port, "--tls", "--insecure")
    assert not failed
    assert counts[0] >= TESTS
    assert counts == (counts[0], counts[0], 0, 0)


def test_without_tls(stage: Stage, h2spec: Path) -> None:
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "h2c": True}]
    Skystitch(stage, Origin(stage, ANSWER).address, port=port, config={"listen": listen})
    counts, failed = run(h2spec, port)
    assert failed <= NOT_WITHOUT_TLS
    assert counts[0] >= TESTS
