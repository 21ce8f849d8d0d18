# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Sanic, and a WebSocket."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import tracing

tracing.start()

import requests  # noqa: E402
from sanic import Sanic  # noqa: E402
from sanic.exceptions import Forbidden  # noqa: E402
from sanic.response import HTTPResponse, raw, redirect, text  # noqa: E402

app = Sanic("shop")
app.config.FALLBACK_ERROR_FORMAT = "text"
app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 1


class OutOfStockError(Exception):
    pass


@app.exception(OutOfStockError)
async def out_of_stock(_: Any, error: OutOfStockError) -> HTTPResponse:
    return text(f"out of stock: {error}", 409)


@app.get("/ready")
async def ready(_: Any) -> HTTPResponse:
    return text(str(os.getpid()))


@app.route("/users/<id:int>", methods=["GET", "HEAD"])
async def user(_: Any, id: int) -> HTTPResponse:
    return text(f"user {id}")


@app.get("/handled")
async def handled(_: Any) -> HTTPResponse:
    raise OutOfStockError("bolts")


@app.get("/boom")
async def boom(_: Any) -> HTTPResponse:
    raise ValueError("boom")


@app.get("/abort")
async def aborted(_: Any) -> HTTPResponse:
    raise Forbidden("no")


@app.get("/redirect")
async def redirected(_: Any) -> HTTPResponse:
    return redirect("/users/1")


@app.get("/large")
async def large(_: Any) -> HTTPResponse:
    return raw(bytes(4 << 20))


@app.get("/stream")
async def stream(request: Any) -> None:
    response = await request.respond(content_type="text/plain")
    for number in range(3):
        await response.send(f"part {number}\n")
    await response.eof()


@app.get("/stream-broken")
async def stream_broken(request: Any) -> None:
    response = await request.respond(content_type="text/plain")
    await response.send("part 0\n")
    raise RuntimeError("the stream broke")


@app.get("/endless")
async def endless(request: Any) -> None:
    response = await request.respond(content_type="text/plain")
    while True:
        await response.send("x" * 4096)
        await asyncio.sleep(0.005)


@app.get("/call")
def call(_: Any) -> HTTPResponse:
    return text(requests.get(os.environ["APP_CALLEE"], timeout=10).text)


@app.websocket("/chat/<room>")
async def chat(_: Any, ws: Any, room: str) -> None:
    while True:
        said = await ws.recv()
        if said is None or said == "bye":
            return
        if said == "fail":
            raise ValueError(room)
        await ws.send(f"{room}: {said}")
