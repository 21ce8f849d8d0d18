# SPDX-License-Identifier: Apache-2.0
"""The executable under test, stages for actors, and their logs in the report of a failed test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Stage
from harness.skystitch import Skystitch

LOG_LINES = 150
open_stages: list[Stage] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--binary", help="the skystitch to test; default $SKYSTITCH_BINARY, then the release build")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--binary"):
        Skystitch.binary = Path(config.getoption("--binary")).resolve()


def pytest_report_header() -> str:
    return f"binary: {Skystitch.binary}"


def pytest_sessionstart() -> None:
    if not Skystitch.binary.exists():
        raise pytest.UsageError(f"{Skystitch.binary} is not built: ./dev build")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed:
        for stage in open_stages:
            for name, log in stage.logs():
                lines = log.splitlines()
                cut = [f"... {len(lines) - LOG_LINES} lines before"] if len(lines) > LOG_LINES else []
                report.sections.append((f"log of {name}", "\n".join([*cut, *lines[-LOG_LINES:]])))
    return report


def opened() -> Iterator[Stage]:
    # Not pytest's tmp_path: the path of a Unix socket holds 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="sky-"))
    stage = Stage(directory)
    open_stages.append(stage)
    try:
        yield stage
        stage.close()
    finally:
        for actor in stage.actors:
            if hasattr(actor, "kill"):
                actor.kill()
        open_stages.remove(stage)
        shutil.rmtree(directory)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """For the actors of one test."""
    yield from opened()


@pytest.fixture(scope="module")
def module_stage() -> Iterator[Stage]:
    """For actors that all tests of a module share."""
    yield from opened()
