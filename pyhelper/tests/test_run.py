# SPDX-License-Identifier: Apache-2.0
"""python -m skystitch run: no change to the code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = "import sys; print(sys.modules['skystitch.agent']._started)"


def skystitch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skystitch", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("separator", [["--"], []])
def test_agent_is_started_in_the_command(separator: list[str]) -> None:
    done = skystitch("run", *separator, sys.executable, "-c", SHOW)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_exit_status_and_arguments_are_the_commands() -> None:
    code = "import sys; print(sys.argv[1:]); sys.exit(3)"
    done = skystitch("run", "--", sys.executable, "-c", code, "--", "run", "-x")
    assert (done.stdout, done.returncode) == ("['--', 'run', '-x']\n", 3)


def test_hidden_sitecustomize_is_run(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.chained = __file__\n")
    done = skystitch(
        "run", sys.executable, "-c", f"{SHOW}; print(sys.chained)", PYTHONPATH=str(tmp_path)
    )
    assert done.stdout == f"True\n{tmp_path / 'sitecustomize.py'}\n"


def test_hidden_sitecustomize_that_fails_is_as_without_us(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise LookupError('theirs')\n")
    done = skystitch("run", sys.executable, "-c", SHOW, PYTHONPATH=str(tmp_path))
    assert done.stdout == "True\n"
    assert "LookupError: theirs" in done.stderr  # as site prints it


def test_started_once_with_the_apps_own_start() -> None:
    code = f"from skystitch import agent; agent.start(); {SHOW}"
    assert skystitch("run", sys.executable, "-c", code).stdout == "True\n"


def test_agent_that_does_not_start_leaves_the_command_running(tmp_path: Path) -> None:
    broken = tmp_path / "skystitch"
    broken.mkdir()
    (broken / "__init__.py").write_text("")
    (broken / "agent.py").write_text("raise LookupError('no agent')\n")
    bootstrap = Path(__file__).parents[1] / "src" / "skystitch" / "bootstrap"
    done = subprocess.run(
        [sys.executable, "-c", "print('runs')"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{bootstrap}{os.pathsep}{tmp_path}"},
        timeout=60,
        check=False,
    )
    assert done.stdout == "runs\n"
    assert done.stderr == "skystitch: the agent did not start: LookupError('no agent')\n"


def test_interpreter_without_the_package() -> None:
    """The command has a virtual environment of its own: the helper is lent to it, nothing else."""
    bootstrap = Path(__file__).parents[1] / "src" / "skystitch" / "bootstrap"
    code = f"{SHOW}; import importlib.util as u; print(u.find_spec('pytest') is None)"
    done = subprocess.run(
        [sys._base_executable, "-s", "-c", code],  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(bootstrap), "PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "True"


@pytest.mark.parametrize("arguments", [[], ["run"], ["run", "--"], ["walk", "x"], ["--help", "x"]])
def test_usage(arguments: list[str]) -> None:
    done = skystitch(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m skystitch run")


def test_help_and_version() -> None:
    assert skystitch("--help").stdout.startswith("usage:")
    assert skystitch("--version").stdout.startswith("skystitch ")


def test_command_that_cannot_be_run(tmp_path: Path) -> None:
    done = skystitch("run", "no-such-command-anywhere")
    assert done.returncode == 127
    assert done.stderr == "skystitch: no-such-command-anywhere: not found\n"
    (tmp_path / "file").write_text("")
    done = skystitch("run", str(tmp_path / "file"))
    assert done.returncode == 126
    assert done.stderr == f"skystitch: {tmp_path / 'file'}: Permission denied\n"
