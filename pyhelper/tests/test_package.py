# SPDX-License-Identifier: Apache-2.0
"""The distributions as pip installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
SOURCE = HERE / "src" / "skystitch"


def wheel(source: Path, to: Path) -> Path:
    """Built from a copy: setuptools writes into the source."""
    copy = shutil.copytree(source, to / "source", ignore=shutil.ignore_patterns("tests", "build"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(to), str(copy)]
    subprocess.run(command, check=True, timeout=120)
    (made,) = to.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pytest.importorskip("setuptools")
    pytest.importorskip("wheel")
    return [
        wheel(HERE, tmp_path_factory.mktemp("helper")),
        wheel(HERE / "autostart", tmp_path_factory.mktemp("autostart")),
    ]


def test_the_wheel_holds_every_module_and_py_typed(wheels: list[Path]) -> None:
    held = set(zipfile.ZipFile(wheels[0]).namelist())
    expected = {f"skystitch/{path.relative_to(SOURCE)}" for path in SOURCE.rglob("*.py")}
    assert expected | {"skystitch/py.typed"} <= held
    assert not [name for name in held if name.startswith("tests")]


def test_autostart_at_the_interpreters_start(wheels: list[Path], tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    for made in wheels:
        zipfile.ZipFile(made).extractall(site)
    show = "import sys; print('skystitch.agent' in sys.modules)"

    def started(**environment: str) -> str:
        done = subprocess.run(
            [tmp_path / "bin" / "python", "-c", show],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=True,
            timeout=60,
        )
        return done.stdout.strip() + done.stderr

    assert started(SKYSTITCH_AUTOSTART="1") == "True"
    assert started(SKYSTITCH_AUTOSTART="") == "False", "only where it is asked for"
