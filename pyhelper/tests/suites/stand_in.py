# SPDX-License-Identifier: Apache-2.0
"""Stands in for the proxy in a framework's own tests: each request of its test client comes with
what the proxy adds, each answer goes back without it, a thread reads the channel.

As a pytest plugin (-p stand_in), or before a program: python stand_in.py PROGRAM [ARGUMENT]...
STAND_IN=off: the same without the helper. STAND_IN_REPORT names a file for what the helper said."""

from __future__ import annotations

import functools
import json
import os
import runpy
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

TRACE = "MQ==-MQ==-0-c2hvcA==-c2hvcC0x-R0VUOi8=-YXBwOjgw"

seen: Counter[str] = Counter()


def listen() -> str:
    name = f"skystitch-suite-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{name}")
    listener.listen()

    def read(connection: socket.socket) -> None:
        while data := connection.recv(1 << 17):
            seen["messages"] += 1
            seen["logs"] += sum(len(span.get("logs", ())) for span in json.loads(data)["spans"])

    def accept() -> None:
        while True:
            threading.Thread(target=read, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return name


def fields(channel: str) -> dict[str, str]:
    stitch = f"1;@{channel};{time.time_ns() // 1000};s"
    return {"HTTP_SW8": f"1-{TRACE}", "HTTP_SW8_STITCH": stitch}


def strip(headers: Any) -> list[Any]:
    kept = []
    for name, value in headers:
        if (name.decode("latin-1") if isinstance(name, bytes) else name).lower() == "sw8-stitch":
            seen["answers"] += 1
        else:
            kept.append((name, value))
    return kept


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def before_werkzeug(channel: str) -> None:
    import werkzeug.test
    from werkzeug.datastructures import Headers

    def make(original: Any) -> Any:
        def run_wsgi_app(app: Any, environ: Any, buffered: bool = False) -> Any:
            body, status, headers = original(app, {**environ, **fields(channel)}, buffered)
            return body, status, Headers(strip(headers))

        return run_wsgi_app

    wrap(werkzeug.test, "run_wsgi_app", make)


def before_wsgi_handler(channel: str) -> None:
    from django.core.handlers.wsgi import WSGIHandler

    def make(original: Any) -> Any:
        def call(handler: Any, environ: Any, start_response: Any) -> Any:
            def start(status: str, headers: Any, *rest: Any) -> Any:
                return start_response(status, strip(headers), *rest)

            environ.update(fields(channel))
            return original(handler, environ, start)

        return call

    wrap(WSGIHandler, "__call__", make)


def before_django_client(channel: str) -> None:
    """Django's test client calls the inner handler: the recording is made as WSGIHandler's is."""
    from django.test.client import ClientHandler

    from skystitch.plugins.sw_django import DjangoRecording
    from skystitch.scope import current

    def make(original: Any) -> Any:
        def call(handler: Any, environ: Any) -> Any:
            told = {**environ, **fields(channel)}
            recording = DjangoRecording(
                told, print, told["HTTP_SW8_STITCH"], time.perf_counter_ns()
            )
            reset = current.set(recording)
            try:
                response = original(handler, environ)
            except BaseException as error:
                recording.fail(error)
                raise
            finally:
                current.reset(reset)
            added: list[Any] = []
            recording.complete(added, str(response.status_code))
            strip(added)
            return response

        return call

    wrap(ClientHandler, "__call__", make)


def before_asgi(channel: str) -> None:
    from skystitch import asgi

    def make_read(original: Any) -> Any:
        def read_environ(scope: Any) -> Any:
            told = {
                name[5:].lower().replace("_", "-"): value for name, value in fields(channel).items()
            }
            headers = [(name.encode(), value.encode()) for name, value in told.items()]
            return original({**scope, "headers": headers})

        return read_environ

    def make_begin(original: Any) -> Any:
        def begin(make: Any, scope: Any, send: Any) -> Any:
            async def stripped(message: Any) -> None:
                if "headers" in message:
                    message = {**message, "headers": strip(message["headers"])}
                await send(message)

            return original(make, scope, stripped)

        return begin

    wrap(asgi, "read_environ", make_read)
    wrap(asgi, "begin", make_begin)


def install() -> None:
    if os.environ.get("STAND_IN") == "off":
        return
    import atexit
    import importlib.util

    from skystitch import agent

    agent.start()
    channel = listen()
    if importlib.util.find_spec("werkzeug"):
        before_werkzeug(channel)
    if importlib.util.find_spec("django"):
        import django.core.handlers.asgi  # noqa: F401

        before_wsgi_handler(channel)
        before_django_client(channel)
    before_asgi(channel)
    atexit.register(report)


def report() -> None:
    where = os.environ.get("STAND_IN_REPORT")
    if where:
        with open(where, "w", encoding="utf-8") as file:
            json.dump(seen, file)


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    install()
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    install()
