# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in aiohttp, which serves by itself: servers_aiohttp.py PORT."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import tracing

tracing.start()

import requests  # noqa: E402
from aiohttp import web  # noqa: E402


async def ready(_: Any) -> web.Response:
    return web.Response(text=str(os.getpid()))


async def user(request: Any) -> web.Response:
    return web.Response(text=f"user {request.match_info['id']}")


async def boom(_: Any) -> web.Response:
    raise ValueError("boom")


async def aborted(_: Any) -> web.Response:
    raise web.HTTPForbidden


async def redirected(_: Any) -> web.Response:
    raise web.HTTPFound("/users/1")


async def large(_: Any) -> web.Response:
    return web.Response(body=bytes(4 << 20))


async def begun(request: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"part 0\n")
    return response


async def stream(request: Any) -> web.StreamResponse:
    return await begun(request)


async def stream_broken(request: Any) -> web.StreamResponse:
    await begun(request)
    raise RuntimeError("the stream broke")


async def endless(request: Any) -> web.StreamResponse:
    response = await begun(request)
    while True:
        await response.write(b"x" * 4096)
        await asyncio.sleep(0.005)


async def call(_: Any) -> web.Response:
    return web.Response(text=requests.get(os.environ["APP_CALLEE"], timeout=10).text)


app = web.Application()
app.router.add_get("/users/{id}", user)
for handler in (ready, boom, large, stream, stream_broken, endless, call):
    app.router.add_get(f"/{handler.__name__.replace('_', '-')}", handler)
app.router.add_get("/abort", aborted)
app.router.add_get("/redirect", redirected)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
