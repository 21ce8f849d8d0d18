# SPDX-License-Identifier: Apache-2.0
"""Runs the helper's tests with several versions of Python, Flask, Django, requests and urllib3.

    python tests/matrix.py [--list] [NAME]...

Each row of the matrix has a virtual environment of its own, kept below build/matrix. Rows whose
Python is not installed are named and left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT.parent / "build" / "matrix"


@dataclass(frozen=True)
class Row:
    """A set of versions that are tested together."""

    name: str
    python: str  # empty: the one that runs this script
    packages: tuple[str, ...]


OLDEST = (
    "anyio==3.7.1",
    "Flask==2.0.3",
    "Werkzeug==2.0.3",
    "Jinja2==3.0.3",
    "itsdangerous==2.0.1",
    "Django==3.2.25",
    "fastapi==0.78.0",
    "starlette==0.19.1",
    "requests==2.26.0",
    "urllib3==1.26.20",
)
MIDDLE = (
    "Flask==2.3.3",
    "Werkzeug==2.3.8",
    "Django==4.2.*",
    "channels==3.0.*",
    "fastapi==0.103.*",
    "starlette==0.27.*",
    "requests==2.31.0",
    "urllib3==2.0.7",
)
CURRENT = (
    "Flask",
    "Django",
    "a2wsgi",
    "asgiref",
    "channels",
    "djangorestframework",
    "fastapi",
    "gevent",
    "loguru",
    "requests",
    "structlog",
    "urllib3",
)

OTHERS = ("aiohttp", "bottle", "falcon", "pyramid", "sanic", "setuptools<81", "tornado")
OLD_OTHERS = (
    "aiohttp==3.9.*",
    "bottle==0.12.25",
    "falcon==3.1.3",
    "pyramid==2.0.2",
    "sanic==22.12.*",
    "setuptools<81",
    "tornado==6.1",
)

#: Drivers; those tests start the servers that are installed.
DATA = (
    "Flask",
    "asyncpg",
    "celery",
    "elasticsearch[async]",
    "grpcio",
    "kafka-python",
    "mysqlclient",
    "pika",
    "psycopg2-binary",
    "psycopg[binary]",
    "pymongo",
    "PyMySQL",
    "redis",
)

ROWS = (
    Row("oldest", "", OLDEST),
    Row("oldest-python39", "python3.9", OLDEST),
    Row("flask21", "", ("Flask==2.1.3", "Werkzeug==2.1.2", "Django==4.0.*")),
    Row("flask22", "", ("Flask==2.2.5", "Werkzeug==2.2.3", "Django==4.1.*")),
    Row("middle", "", MIDDLE),
    Row("middle-python310", "python3.10", MIDDLE),
    Row(
        "flask30",
        "",
        ("Flask==3.0.*", "Werkzeug==3.0.*", "Django==5.1.*", "fastapi==0.115.*", "requests"),
    ),
    Row("current", "", CURRENT),
    Row("current-python313", "python3.13", CURRENT),
    Row("data", "", DATA),
    Row("other-frameworks", "", OTHERS),
    Row("other-frameworks-old", "", OLD_OTHERS),
    Row("no-blinker", "", ("Flask==2.2.5", "Werkzeug==2.2.3", "requests")),
    Row("no-frameworks", "", ()),
)


def interpreter(row: Row) -> str | None:
    """The row's Python, if it is there and runs."""
    if not row.python:
        return sys.executable
    found = shutil.which(row.python)
    if found is None:
        return None
    works = subprocess.run([found, "-c", ""], capture_output=True, check=False)
    return found if works.returncode == 0 else None


def environment(row: Row, python: str) -> Path:
    """The Python of the row's virtual environment, made if its packages have changed."""
    directory = BUILD / row.name
    key = hashlib.sha256(repr((row, python)).encode()).hexdigest()
    stamp = directory / "stamp"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(directory)], check=True)
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "pytest", *row.packages], check=True)
        subprocess.run([*pip, "--editable", str(PROJECT)], check=True)
        stamp.write_text(key)
    return directory / "bin" / "python"


def run(row: Row) -> str:
    """Runs the tests of a row; returns what came of it."""
    python = interpreter(row)
    if python is None:
        return f"left out: no {row.python}"
    command = [str(environment(row, python)), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(PROJECT / "tests")],
        cwd=PROJECT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    return "passed" if done.returncode == 0 else "FAILED"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to run; all by default")
    options = parser.parse_args()
    known = {row.name: row for row in ROWS}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)} (there are {', '.join(known)})")
    if options.list:
        for row in ROWS:
            print(f"{row.name:18} {row.python or 'this Python':12} {' '.join(row.packages)}")
        return 0
    outcomes = {}
    for name in options.names or known:
        print(f"== {name}", flush=True)
        outcomes[name] = run(known[name])
    for name, outcome in outcomes.items():
        print(f"{name:18} {outcome}")
    return 1 if "FAILED" in outcomes.values() else 0


if __name__ == "__main__":
    sys.exit(main())
