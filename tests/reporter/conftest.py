# SPDX-License-Identifier: Apache-2.0
"""The program under test, started per test and ended with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reporter.drive import Drive

DEFAULT = Path(__file__).parents[2] / "build/release/tests/reporter/reporter_drive"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--drive", default=DEFAULT, help="the reporter_drive to test; default: of the release build")


@pytest.fixture
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Drive]]:
    """Starts a reporter: drive("127.0.0.1:1", batch=1000)."""
    started: list[Drive] = []

    def start(*backends: str, **options: object) -> Drive:
        log_path = tmp_path / f"drive-{len(started)}.log"
        started.append(Drive(request.config.getoption("--drive"), backends, options, log_path))
        return started[-1]

    yield start
    for one in started:
        one.close()
