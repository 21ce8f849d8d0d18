# SPDX-License-Identifier: Apache-2.0
"""A real gunicorn with a real app, the helper installed beside it."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.process import ROOT, Process, Stage, free_port

APPS = ROOT / "tests" / "e2e" / "apps"


class UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        super().__init__("app", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Gunicorn(Process):
    """Serves `app` (module:callable in tests/e2e/apps) on a Unix socket, or on a port with tcp=True."""

    def __init__(
        self,
        stage: Stage,
        app: str,
        *,
        name: str = "gunicorn",
        worker_class: str = "sync",
        workers: int = 1,
        threads: int = 4,
        tcp: bool = False,
        launcher: Sequence[str] = (),
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        apps: Path = APPS,
    ) -> None:
        self.port = free_port() if tcp else 0
        self.socket_path = stage.path(f"{name}.sock")
        self.address = f"127.0.0.1:{self.port}" if tcp else f"unix:{self.socket_path}"
        argv = [
            *(launcher or [sys.executable, "-m"]),
            "gunicorn",
            *("--bind", self.address),
            *("--worker-class", worker_class),
            *("--workers", str(workers)),
            *("--graceful-timeout", "5"),
            *("--worker-tmp-dir", "/dev/shm"),
        ]
        if worker_class == "gthread":
            argv += ["--threads", str(threads)]
        # What an app that is killed leaves goes with the stage.
        environment = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(stage.directory), **(env or {})}
        super().__init__(stage, name, [*argv, *options, app], environment, cwd=apps)
        self.spawn()
        self.ready(self.answers, timeout=30)

    def connection(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        """A connection straight to the app, past any proxy."""
        if self.port:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        return UnixConnection(self.socket_path, timeout)

    def answers(self) -> bool:
        connection = self.connection()
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children]
