# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in FastAPI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import tracing

tracing.start()

import requests  # noqa: E402
from fastapi import APIRouter, FastAPI, HTTPException, Request  # noqa: E402
from fastapi.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse  # noqa: E402

app = FastAPI()
router = APIRouter()


class OutOfStockError(Exception):
    pass


@app.exception_handler(OutOfStockError)
async def out_of_stock(_: Request, error: OutOfStockError) -> PlainTextResponse:
    return PlainTextResponse(f"out of stock: {error}", 409)


@app.get("/ready")
async def ready() -> int:
    return os.getpid()


@router.api_route("/{id}", methods=["GET", "HEAD"])
async def user(id: int) -> str:
    return f"user {id}"


app.include_router(router, prefix="/users")


@app.get("/handled")
async def handled() -> str:
    raise OutOfStockError("bolts")


@app.get("/boom")
async def boom() -> str:
    raise ValueError("boom")


@app.get("/boom/{word}")
async def boom_word(word: str) -> str:
    raise ValueError(f"no such word: {word}")


@app.get("/echo")
async def echo(request: Request) -> dict[str, list[tuple[str, str]]]:
    return {"headers": list(request.headers.items())}


@app.get("/abort")
async def aborted() -> str:
    raise HTTPException(403)


@app.get("/redirect")
async def redirected() -> RedirectResponse:
    return RedirectResponse("/users/1", 302)


@app.get("/large")
async def large() -> Response:
    return Response(bytes(4 << 20))


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(iter([f"part {number}\n" for number in range(3)]))


@app.get("/stream-broken")
async def stream_broken() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return StreamingResponse(parts())


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        while True:
            yield "x" * 4096
            await asyncio.sleep(0.005)

    return StreamingResponse(parts())


@app.get("/call")
def call() -> str:
    """Not a coroutine: in a thread of the pool."""
    return requests.get(os.environ["APP_CALLEE"], timeout=10).text
