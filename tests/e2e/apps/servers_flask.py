# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Flask."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import tracing

tracing.start()

import requests  # noqa: E402
from flask import Flask, Response, abort, redirect  # noqa: E402

app = application = Flask(__name__)


class OutOfStockError(Exception):
    pass


@app.errorhandler(OutOfStockError)
def out_of_stock(error: OutOfStockError) -> tuple[str, int]:
    return f"out of stock: {error}", 409


@app.get("/ready")
def ready() -> str:
    return str(os.getpid())


@app.get("/users/<int:id>")
def user(id: int) -> str:
    return f"user {id}"


@app.get("/handled")
def handled() -> str:
    raise OutOfStockError("bolts")


@app.get("/boom")
def boom() -> str:
    raise ValueError("boom")


@app.get("/abort")
def aborted() -> str:
    abort(403)


@app.get("/redirect")
def redirected() -> Response:
    return redirect("/users/1")


@app.get("/large")
def large() -> bytes:
    return bytes(4 << 20)


@app.get("/stream")
def stream() -> Response:
    return Response(f"part {number}\n" for number in range(3))


@app.get("/stream-broken")
def stream_broken() -> Response:
    def parts() -> Iterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return Response(parts())


@app.get("/endless")
def endless() -> Response:
    def parts() -> Iterator[str]:
        while True:
            yield "x" * 4096
            time.sleep(0.005)

    return Response(parts())


@app.get("/call")
def call() -> str:
    return requests.get(os.environ["APP_CALLEE"], timeout=10).text
