# SPDX-License-Identifier: Apache-2.0
"""Runs the frameworks' own tests, of their source packages, without the helper and with it.

    python tests/suites/run.py [NAME]...

What fails with the helper must fail without it. Packages and environments are kept below
build/matrix."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
BUILD = PROJECT.parent / "build" / "matrix"

PYTEST = ("-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "-p", "stand_in")
FAILED = re.compile(r"^(?:(?:FAILED|ERROR) (\S+)|(?:FAIL|ERROR): (\S+ \(\S+\)))", re.M)
SUMMARY = re.compile(r"^(?:Ran (\d+) tests|.*?(\d+) passed)", re.M)


@dataclass(frozen=True)
class Suite:
    """A framework's tests. least: so many answers of the helper's there must be, or nothing was
    tested."""

    name: str
    package: str  # as pip knows it, pinned
    requirements: tuple[str, ...]
    directory: str  # within the source package
    command: tuple[str, ...]
    least: int


SUITES = (
    Suite("flask", "Flask==3.1.3", ("asgiref", "pytest==8.4.*"), ".", (*PYTEST, "tests"), 300),
    Suite(
        "django",
        "Django==5.2.19",
        ("asgiref", "jinja2", "tblib", "pyyaml", "tzdata"),
        "tests",
        (
            *(
                str(HERE / "stand_in.py"),
                "runtests.py",
                "--parallel",
                "1",
                "--settings",
                "test_sqlite",
            ),
            *("asgi", "async", "builtin_server", "conditional_processing", "csrf_tests"),
            *(
                "decorators",
                "deprecation",
                "generic_views",
                "handlers",
                "httpwrappers",
                "i18n.patterns",
                "logging_tests",
            ),
            *(
                "messages_tests",
                "middleware",
                "middleware_exceptions",
                "requests_tests",
                "responses",
            ),
            *("servers", "sessions_tests", "signals", "staticfiles_tests", "test_client"),
            *("test_client_regress", "urlpatterns", "urlpatterns_reverse", "view_tests", "wsgi"),
        ),
        1000,
    ),
    Suite(
        "starlette",
        "starlette==1.10.0",
        (
            "blockbuster",
            "httpx2",
            "itsdangerous",
            "jinja2",
            "pytest",
            "python-multipart",
            "pyyaml",
            "trio",
            "typing_extensions",
        ),
        ".",
        (*PYTEST, "--ignore=tests/middleware/test_opentelemetry.py", "tests"),
        300,
    ),
)


def environment(suite: Suite) -> Path:
    """The Python of the suite's virtual environment, made if its packages have changed."""
    directory = BUILD / f"suite-{suite.name}"
    key = repr((suite.package, suite.requirements))
    stamp = directory / "stamp"
    python = directory / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", suite.package, *suite.requirements], check=True)
        subprocess.run([*pip, "install", "--editable", str(PROJECT)], check=True)
        source = ["--no-deps", "--no-binary", ":all:", "--dest", str(directory), suite.package]
        subprocess.run([*pip, "download", *source], check=True)
        shutil.unpack_archive(next(directory.glob("*.tar.gz")), directory / "source")
        stamp.write_text(key)
    return python


def run(suite: Suite, python: Path, report: Path | None) -> tuple[set[str], int]:
    """What has failed, and how many tests there were."""
    root = next((BUILD / f"suite-{suite.name}" / "source").iterdir())
    env = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    if report is None:
        env["STAND_IN"] = "off"
    else:
        env["STAND_IN_REPORT"] = str(report)
    done = subprocess.run(
        [str(python), *suite.command],
        cwd=root / suite.directory,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    output = done.stdout + done.stderr
    log = BUILD / f"suite-{suite.name}" / ("without.log" if report is None else "with.log")
    log.write_text(output)
    counts = [int(one or other) for one, other in SUMMARY.findall(output)]
    return {one or other for one, other in FAILED.findall(output)}, counts[-1] if counts else 0


def check(suite: Suite) -> str:
    python = environment(suite)
    report = BUILD / f"suite-{suite.name}" / "report.json"
    report.unlink(missing_ok=True)
    before, count_before = run(suite, python, None)
    after, count_after = run(suite, python, report)
    said = json.loads(report.read_text()) if report.exists() else {}
    new = sorted(after - before)
    for name in new:
        print(f"fails with the helper alone: {name}")
    failures = f"{len(before)} fail without the helper, {len(new)} more with it"
    text = f"{count_after} tests, {failures}; {said}"
    enough = said.get("answers", 0) >= suite.least and 0 < count_before <= count_after
    return f"{'passed' if enough and not new else 'FAILED'}: {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    known = {suite.name: suite for suite in SUITES}
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all by default"
    )
    names = parser.parse_args().names
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)} (there are {', '.join(known)})")
    outcomes = {}
    for name in names or known:
        print(f"== {name}", flush=True)
        outcomes[name] = check(known[name])
    for name, outcome in outcomes.items():
        print(f"{name:12} {outcome}")
    return 1 if any(outcome.startswith("FAILED") for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
