# SPDX-License-Identifier: Apache-2.0
"""The demo checks itself; here is seen that it does, with and without OAP, and that its check can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.process import ROOT
from harness.skystitch import Skystitch


def demo(*arguments: str, binary: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--binary", binary or Skystitch.binary, "--once", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.timeout(350)
@pytest.mark.parametrize("arguments", [[], pytest.param(["--oap"], marks=pytest.mark.matrix)])
def test_once(arguments: list[str]) -> None:
    done = demo(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GET:/items/<int:id>  (shop)" in done.stdout
    assert "GET:/stock/<int:item>  (stock)" in done.stdout
    assert "KeyError: 13" in done.stdout
    assert done.stdout.count("\nok ") == 3


def test_a_trace_that_is_not_whole_fails(tmp_path: Path) -> None:
    """The same program in mode gateway makes no stitched segment."""
    wrapper = tmp_path / "skystitch"
    wrapper.write_text(f'#!/bin/sh\nexec {Skystitch.binary} "$@" --set agent.mode=gateway\n')
    wrapper.chmod(0o755)
    done = demo(binary=wrapper)
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout
