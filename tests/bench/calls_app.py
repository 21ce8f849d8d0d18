# SPDX-License-Identifier: Apache-2.0
"""A Flask app that makes outgoing calls under one agent; prints what a call costs as JSON.

Started by calls.py in a process of its own: agents patch what they touch, and some start threads."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from helper_app import AGENTS, TRACE_HEADERS, settle

# Requests between two looks into the channel, which must not overflow; calls of each.
BATCH = 10
CALLS = 20


def instrument_opentelemetry() -> None:
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    RedisInstrumentor().instrument()
    RequestsInstrumentor().instrument()


def calls_of_requests() -> Callable[[], object]:
    """A call through requests, down to the adapter; nothing goes over a network."""
    import requests
    from requests.adapters import BaseAdapter

    class Nowhere(BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.url, response.request = 200, request.url, request
            response.raw, response._content = io.BytesIO(), b""
            return response

        def close(self) -> None:
            pass

    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Nowhere())
    return lambda: session.get("http://stock:8080/items/3")


def calls_of_redis() -> Callable[[], object]:
    """A command through redis-py, down to the socket."""
    import redis

    class Nowhere(redis.Connection):
        def connect(self, *_: Any, **__: Any) -> None:
            pass

        def send_packed_command(self, *_: Any, **__: Any) -> None:
            pass

        def can_read(self, *_: Any, **__: Any) -> bool:
            return False

        def read_response(self, *_: Any, **__: Any) -> bytes:
            return b"1"

    pool = redis.ConnectionPool(connection_class=Nowhere, host="127.0.0.1", port=6379)
    client = redis.Redis(connection_pool=pool)
    return lambda: client.get("user:42")


CALLERS = {"requests": calls_of_requests, "redis": calls_of_redis}


class Channel:
    """The proxy's side: a listener whose connections are emptied between batches."""

    def __init__(self) -> None:
        name = f"skystitch-bench-{os.getpid()}"
        self.address = f"@{name}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(f"\0{name}")
        self.listener.listen()
        self.listener.setblocking(False)
        self.connections: list[socket.socket] = []

    def drain(self) -> int:
        with contextlib.suppress(BlockingIOError):
            self.connections.append(self.listener.accept()[0])
        messages = 0
        for connection in self.connections:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while connection.recv(1 << 16):
                    messages += 1
        return messages


def make_app(kind: str) -> Any:
    from flask import Flask

    app = Flask(__name__)
    make_call = CALLERS[kind]()

    @app.route("/calls/<int:number>")
    def calls(number: int) -> str:
        for _ in range(number):
            make_call()
        return "done\n"

    return app


def measure(agent: str, collector: str, batches: int, kind: str) -> float:
    """What one call costs in the request's thread: a request with many calls less one with one."""
    AGENTS[agent](collector)
    if agent == "opentelemetry":
        instrument_opentelemetry()
    from werkzeug.test import EnvironBuilder

    app, channel = make_app(kind), Channel()
    statuses: set[str] = set()

    def request(calls: int) -> float:
        environ = {**EnvironBuilder(f"/calls/{calls}").get_environ(), **TRACE_HEADERS}
        environ.update(REMOTE_ADDR="127.0.0.1", REMOTE_PORT="40000")
        environ["HTTP_SW8_STITCH"] = f"1;{channel.address};{time.time_ns() // 1000};s"
        before = time.thread_time()
        for _ in range(BATCH):
            body = app({**environ, "wsgi.input": io.BytesIO()}, lambda status, *_: statuses.add(status))
            assert b"".join(body) == b"done\n"
            body.close()
        spent = time.thread_time() - before
        assert (channel.drain() >= BATCH) == (agent == "skystitch")
        return spent * 1e6 / BATCH

    for _ in range(20):
        request(CALLS + 1)
        request(1)
    settle()
    gc.collect()
    # The least disturbed batch: what else runs on the machine only ever adds.
    many = min(request(CALLS + 1) for _ in range(batches))
    one = min(request(1) for _ in range(batches))
    assert statuses == {"200 OK"}
    return (many - one) / CALLS


if __name__ == "__main__":
    call_us = measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    print(json.dumps(call_us), flush=True)
    # Agents' exit hooks may wait for their collector; nothing is left that matters.
    os._exit(0)
