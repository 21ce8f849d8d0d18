# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Bottle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import tracing

tracing.start()

import bottle  # noqa: E402
import requests  # noqa: E402

app = bottle.Bottle()


@app.get("/ready")
def ready() -> str:
    return str(os.getpid())


@app.route("/users/<id:int>", ["GET", "HEAD"])
def user(id: int) -> str:
    return f"user {id}"


@app.get("/boom")
def boom() -> str:
    raise ValueError("boom")


@app.get("/abort")
def aborted() -> str:
    return bottle.abort(403)


@app.get("/redirect")
def redirected() -> None:
    bottle.redirect("/users/1", 302)


@app.get("/large")
def large() -> bytes:
    return bytes(4 << 20)


@app.get("/stream")
def stream() -> Iterator[str]:
    return (f"part {number}\n" for number in range(3))


@app.get("/stream-broken")
def stream_broken() -> Iterator[str]:
    yield "part 0\n"
    raise RuntimeError("the stream broke")


@app.get("/endless")
def endless() -> Iterator[str]:
    while True:
        yield "x" * 4096
        time.sleep(0.005)


@app.get("/call")
def call() -> str:
    return requests.get(os.environ["APP_CALLEE"], timeout=10).text
