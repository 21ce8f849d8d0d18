# SPDX-License-Identifier: Apache-2.0
"""One process after another on the same sockets: by USR2, or by systemd."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Skystitch, until
from harness.skystitch import sanitizer_env


def successor(proxy: Skystitch, of: int) -> int:
    """The process that says that it takes the place of this one."""

    def find() -> int:
        found = re.findall(r"upgrade: process (\d+) serves", proxy.log())
        return int(found[-1]) if found and int(found[-1]) != of else 0

    return until(find, "the new process serves", 30)


def gone(pid: int) -> bool:
    """A process that nobody has waited for yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), f"the end of {pid}", 30)


STARTER = """
import os, sys
first, last = 3, 3 + int(sys.argv[1])
for fd in range(first, last):
    os.set_inheritable(fd, True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), sys.argv[1]
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def activated(proxy: Skystitch, sockets: list[socket.socket]) -> Iterator[subprocess.Popen[bytes]]:
    """The proxy as systemd starts it: sockets from descriptor 3 on."""

    def place() -> None:
        copies = [os.dup(one.fileno()) for one in sockets]
        high = [os.dup2(copy, 100 + i) for i, copy in enumerate(copies)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)

    with proxy.log_path.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(len(sockets)), *proxy.argv],
            env={**os.environ, **sanitizer_env()},
            stdout=log,
            stderr=log,
            close_fds=False,
            preexec_fn=place,
        )
    try:
        until(proxy.is_ready, "ready", 30)
        yield child
    finally:
        child.terminate()
        assert child.wait(30) == 0
        proxy.check_log()
