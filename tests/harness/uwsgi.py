# SPDX-License-Identifier: Apache-2.0
"""A real uWSGI that speaks its own protocol, as behind nginx's uwsgi_pass."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.gunicorn import APPS
from harness.process import Process, Stage, free_port


class Uwsgi(Process):
    """Serves `app` (module:callable in tests/e2e/apps) on a Unix socket, or on a port with tcp=True."""

    def __init__(
        self,
        stage: Stage,
        app: str,
        *,
        name: str = "uwsgi",
        tcp: bool = False,
        processes: int = 1,
        threads: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        self.socket_path = stage.path(f"{name}.sock")
        self.port = free_port() if tcp else 0
        place = f"127.0.0.1:{self.port}" if tcp else str(self.socket_path)
        self.address = f"uwsgi://127.0.0.1:{self.port}" if tcp else f"uwsgi://unix:{self.socket_path}"
        argv = [
            Path(sys.executable).with_name("pyuwsgi"),
            *("--socket", place),
            *("--wsgi", app),
            *("--processes", str(processes), "--threads", str(threads), "--enable-threads"),
            *("--master", "--die-on-term", "--need-app", "--virtualenv", sys.prefix),
        ]
        super().__init__(stage, name, [*argv, *options], {"PYTHONUNBUFFERED": "1"}, cwd=APPS)
        self.spawn()
        self.ready(self.listens, timeout=30)

    def listens(self) -> bool:
        """And the app is loaded, in each process."""
        if "spawned uWSGI worker" not in self.log() or "WSGI app 0" not in self.log():
            return False
        family, place = (socket.AF_INET, ("127.0.0.1", self.port)) if self.port else (socket.AF_UNIX, "")
        with socket.socket(family) as probe:
            return probe.connect_ex(place or str(self.socket_path)) == 0
