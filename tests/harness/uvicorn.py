# SPDX-License-Identifier: Apache-2.0
"""A real uvicorn with an ASGI app."""

from __future__ import annotations

import socket
import sys

from harness.gunicorn import APPS
from harness.process import Process, Stage, free_port


class Uvicorn(Process):
    """Serves `app` (module:callable in tests/e2e/apps) on a port."""

    def __init__(self, stage: Stage, app: str, *, implementation: str = "websockets") -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        argv = [
            *(sys.executable, "-m", "uvicorn", app),
            *("--port", str(self.port)),
            *("--http", "h11", "--ws", implementation, "--ws-max-size", str(4 << 20)),
            *("--timeout-graceful-shutdown", "1"),
        ]
        super().__init__(stage, "uvicorn", argv, {"PYTHONUNBUFFERED": "1"}, cwd=APPS)
        self.spawn()
        self.ready(self.listens, timeout=30)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
