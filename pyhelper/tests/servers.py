# SPDX-License-Identifier: Apache-2.0
"""Real databases for the tests of their drivers: on loopback, in a directory of their own, as an
unprivileged user. A test is skipped where the server is not installed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_WAIT_S = 30


@dataclass
class Server:
    port: int
    directory: Path  # with its socket file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, *directories: str) -> str:
    for directory in directories:
        for found in sorted(glob.glob(f"{directory}/{name}"), reverse=True):
            return found
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _user() -> dict[str, Any]:
    """Databases refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


@contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="skystitch-db-"))  # short: sockets have a short path
    try:
        if os.geteuid() == 0:
            os.chown(path, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _running(command: list[str], directory: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, **_user())
    try:
        end = time.monotonic() + _WAIT_S
        while not ready():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < end, (directory / "log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def postgres() -> Iterator[Server]:
    binaries = "/usr/lib/postgresql/*/bin"
    initdb, server = program("initdb", binaries), program("postgres", binaries)
    with _directory() as directory:
        data = directory / "data"
        make = [initdb, "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=directory, **_user())
        port = free_port()
        command = [server, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-F"]
        with _running([*command, "-k", str(directory)], directory, lambda: accepts(port)):
            yield Server(port, directory)


@contextmanager
def mariadb() -> Iterator[Server]:
    install, server = program("mariadb-install-db"), program("mariadbd")
    with _directory() as directory:
        data = directory / "data"
        common = ["--no-defaults", f"--datadir={data}"]
        make = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(make, check=True, capture_output=True, cwd=directory, **_user())
        port = free_port()
        command = [server, *common, f"--port={port}", "--bind-address=127.0.0.1"]
        command += [f"--socket={directory}/sock", f"--pid-file={directory}/pid"]
        with _running(command, directory, lambda: accepts(port)):
            yield Server(port, directory)


@contextmanager
def redis(*options: str) -> Iterator[Server]:
    server = program("redis-server")
    with _directory() as directory:
        port = free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
        with _running([*command, "no", *options], directory, lambda: accepts(port)):
            yield Server(port, directory)
