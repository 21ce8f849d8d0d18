# SPDX-License-Identifier: Apache-2.0
"""Every app server that an app may run under, each as its users start it."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.gunicorn import APPS
from harness.process import Process, Stage, free_port

PYTHON = Path(sys.executable)


def gunicorn(worker: str, *options: str) -> Callable[[str, int], Sequence[str]]:
    def argv(app: str, port: int) -> Sequence[str]:
        timeouts = ["--graceful-timeout", "2", "--worker-tmp-dir", "/dev/shm"]
        return ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "-k", worker, *timeouts, *options, app]

    return argv


def uvicorn(*options: str) -> Callable[[str, int], Sequence[str]]:
    stop = "--timeout-graceful-shutdown"
    return lambda app, port: ["-m", "uvicorn", "--port", str(port), stop, "1", *options, app]


def hypercorn(app: str, port: int) -> Sequence[str]:
    return ["-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "--graceful-timeout", "1", app]


def daphne(app: str, port: int) -> Sequence[str]:
    return ["-m", "daphne", "--port", str(port), app]


def uwsgi(*options: str) -> Callable[[str, int], Sequence[str]]:
    def argv(app: str, port: int) -> Sequence[str]:
        # Not through the interpreter: an executable of its own.
        listen = ["--http-socket", f"127.0.0.1:{port}", "--buffer-size", "16384", "--die-on-term"]
        return [str(PYTHON.parent / "uwsgi"), *listen, "--master", "--need-app", "--module", app, *options]

    return argv


def flask_run(*options: str) -> Callable[[str, int], Sequence[str]]:
    return lambda app, port: ["-m", "flask", "--app", app, "run", "--port", str(port), *options]


def runserver(*options: str) -> Callable[[str, int], Sequence[str]]:
    def argv(app: str, port: int) -> Sequence[str]:
        return ["servers_django.py", "runserver", f"127.0.0.1:{port}", *options]

    return argv


def sanic(*options: str) -> Callable[[str, int], Sequence[str]]:
    listen = ["--host", "127.0.0.1", "--no-motd"]
    return lambda app, port: ["-m", "sanic", app, *listen, "--port", str(port), *options]


def mod_wsgi(*options: str) -> Callable[[str, int], Sequence[str]]:
    """Apache; what it writes goes where Server says."""

    def argv(app: str, port: int) -> Sequence[str]:
        module, _, name = app.partition(":")
        express = [str(PYTHON.parent / "mod_wsgi-express"), "start-server", module]
        entry = ["--application-type", "module", "--callable-object", name, "--working-directory", str(APPS)]
        listen = ["--host", "127.0.0.1", "--port", str(port), "--log-to-terminal"]
        return [*_as_nobody(), *express, *entry, *listen, *options]

    return argv


def _as_nobody() -> Sequence[str]:
    """Apache gives root up, and then may not read a checkout below root's home: it has to be able to."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    rights = "+dac_override,+dac_read_search"
    user = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return ["/usr/bin/setpriv", *user, f"--inh-caps={rights}", f"--ambient-caps={rights}"]


#: Name -> what to call with an app (module:callable) and a port, for the arguments of Python.
SERVERS: Mapping[str, Callable[[str, int], Sequence[str]]] = {
    "gunicorn-sync": gunicorn("sync"),
    "gunicorn-sync-preload": gunicorn("sync", "--preload", "--workers", "2"),
    "gunicorn-gthread": gunicorn("gthread", "--threads", "4"),
    "gunicorn-gthread-preload": gunicorn("gthread", "--threads", "4", "--preload"),
    "gunicorn-gevent": gunicorn("gevent"),
    "gunicorn-gevent-preload": gunicorn("gevent", "--preload"),
    "gunicorn-asgi": gunicorn("asgi"),
    "gunicorn-uvicorn": gunicorn("uvicorn_worker.UvicornWorker"),
    "gunicorn-uvicorn-preload": gunicorn("uvicorn_worker.UvicornWorker", "--preload"),
    "uvicorn": uvicorn("--http", "h11"),
    "uvicorn-httptools": uvicorn("--http", "httptools", "--loop", "uvloop"),
    "uvicorn-workers": uvicorn("--workers", "2"),
    "hypercorn": hypercorn,
    "daphne": daphne,
    "uwsgi": uwsgi(),
    "uwsgi-threads": uwsgi("--threads", "4", "--processes", "2"),
    "uwsgi-lazy-apps": uwsgi("--lazy-apps", "--processes", "2"),
    "sanic": sanic("--single-process"),
    "sanic-workers": sanic("--workers", "2"),
    "mod-wsgi": mod_wsgi("--processes", "1", "--threads", "1"),
    "mod-wsgi-threads": mod_wsgi("--processes", "2", "--threads", "4"),
    "mod-wsgi-interpreter": mod_wsgi("--processes", "2", "--threads", "4", "--application-group", "shop"),
    "script": lambda app, port: [f"{app}.py", str(port)],  # which serves by itself
    "flask-run": flask_run("--no-reload"),
    "flask-run-reload": flask_run("--reload"),
    "runserver": runserver("--noreload"),
    "runserver-reload": runserver(),
}


class Server(Process):
    """Serves `app` (module:callable in tests/e2e/apps) on a port."""

    def __init__(
        self,
        stage: Stage,
        kind: str,
        app: str,
        *,
        name: str = "server",
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        argv = [*SERVERS[kind](app, self.port), *options]
        if kind.startswith("mod-wsgi"):
            argv += ["--server-root", str(stage.path("apache"))]
        if not argv[0].startswith("/"):
            argv.insert(0, str(PYTHON))
        super().__init__(stage, name, argv, {"PYTHONUNBUFFERED": "1", **(env or {})}, cwd=APPS)
        self.spawn()
        self.ready(self.listens, timeout=30)
        if kind == "sanic-workers":  # told to stop any earlier it may not
            self.ready(lambda: self.log().count("Worker ready") == 2, timeout=30)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
