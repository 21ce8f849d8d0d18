# SPDX-License-Identifier: Apache-2.0
"""Child processes with their output in files, and the stage that starts and ends them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]

# Actors inherit what is ignored here: run under nohup, none of them would see a hangup.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def until(condition: Callable[[], T], what: str, timeout: float = 15.0) -> T:
    """Returns the first true value of condition; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


@functools.cache
def port_block() -> tuple[Iterator[int], socket.socket]:
    """Ports that this process alone gives out, and the lock of their block: a name that ends with the process.

    Suites run beside each other. Without blocks one of them could choose a port that another one has
    chosen and not bound yet. None of them is a port that the kernel chooses: those are also given to
    outgoing connections.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    size = 256
    blocks = list(range(10240, max(first_ephemeral, 20480) - size + 1, size))
    random.shuffle(blocks)
    for first in blocks:
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0ports-of-tests-{first}")
        except OSError:
            lock.close()
        else:
            return itertools.cycle(range(first, first + size)), lock
    raise RuntimeError("every block of ports is in use")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has just now, and none of these tests takes unless told so."""
    for port in port_block()[0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("not reached: the ports go round")


class Actor(Protocol):
    name: str

    def close(self) -> None: ...

    def log(self) -> str: ...


class Stage:
    """What one test (or one module of tests) has running. Ends it in reverse order of its start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.actors: list[Actor] = []

    def add(self, actor: Actor) -> None:
        self.actors.append(actor)

    def path(self, name: str) -> Path:
        return self.directory / name

    def logs(self) -> list[tuple[str, str]]:
        return [(actor.name, actor.log()) for actor in self.actors]

    def close(self) -> None:
        problems: list[BaseException] = []
        for actor in reversed(self.actors):
            try:
                actor.close()
            except (AssertionError, OSError) as problem:
                problems.append(problem)
        if problems:
            raise problems[0]


class Process:
    """One child process in a group of its own, so that its children end with it."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(argument) for argument in argv]
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.user = user
        self.log_path = stage.path(f"{name}.log")
        self.child: subprocess.Popen[bytes] | None = None
        stage.add(self)

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self.child = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} was never started"
        return self.child.pid

    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def ready(self, condition: Callable[[], bool], timeout: float) -> None:
        """Waits until the process serves; fails at once when it ends instead."""

        def serves_or_ended() -> bool:
            return not self.alive() or condition()

        until(serves_or_ended, f"{self.name} is ready", timeout)
        assert self.alive(), f"{self.name} ended at start with {self.child and self.child.returncode}\n{self.log()}"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit status; the process is killed when it does not end in time."""
        assert self.child is not None
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout:g} s") from None

    def kill(self) -> None:
        if self.child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def close(self) -> None:
        if self.alive():
            self.signal(signal.SIGTERM)
            self.wait()
        self.kill()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
