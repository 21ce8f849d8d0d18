# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Tornado, which serves by itself: servers_tornado.py PORT."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import tracing

tracing.start()

import requests  # noqa: E402
from tornado import iostream, web  # noqa: E402


class ready(web.RequestHandler):
    def get(self) -> None:
        self.write(str(os.getpid()))


class user(web.RequestHandler):
    def get(self, number: str) -> None:
        self.write(f"user {number}")

    head = get


class boom(web.RequestHandler):
    def get(self) -> None:
        raise ValueError("boom")


class aborted(web.RequestHandler):
    def get(self) -> None:
        raise web.HTTPError(403)


class redirected(web.RequestHandler):
    def get(self) -> None:
        self.redirect("/users/1")


class large(web.RequestHandler):
    def get(self) -> None:
        self.write(bytes(4 << 20))


class stream(web.RequestHandler):
    async def get(self) -> None:
        for number in range(3):
            self.write(f"part {number}\n")
            await self.flush()


class stream_broken(web.RequestHandler):
    async def get(self) -> None:
        self.write("part 0\n")
        await self.flush()
        raise RuntimeError("the stream broke")


class endless(web.RequestHandler):
    async def get(self) -> None:
        try:
            while True:
                self.write("x" * 4096)
                await self.flush()
                await asyncio.sleep(0.005)
        except iostream.StreamClosedError:
            return


class call(web.RequestHandler):
    def get(self) -> None:
        self.write(requests.get(os.environ["APP_CALLEE"], timeout=10).text)


HANDLERS: list[tuple[str, Any]] = [
    (f"/{handler.__name__.replace('_', '-')}", handler)
    for handler in (ready, boom, large, stream, stream_broken, endless, call)
]
app = web.Application([*HANDLERS, (r"/users/([0-9]+)", user), ("/abort", aborted), ("/redirect", redirected)])


async def main() -> None:
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
