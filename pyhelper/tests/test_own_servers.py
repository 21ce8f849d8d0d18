# SPDX-License-Identifier: Apache-2.0
"""Apps of frameworks that serve by themselves, requests over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib.util
import itertools
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import Answer, Client, Proxy, app_span, log, message, timeless
from skystitch import scope, served, wire
from skystitch.channel import losses

HERE = __name__
_numbers = itertools.count()


class ShopError(Exception):
    pass


@contextlib.asynccontextmanager
async def aiohttp_server() -> AsyncIterator[int]:
    from aiohttp import web

    async def user(request: Any) -> Any:
        return web.Response(text=f"user {request.match_info['id']}")

    async def boom(request: Any) -> Any:
        raise ValueError("boom")

    async def abort(request: Any) -> Any:
        raise web.HTTPForbidden

    async def stream(request: Any) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part 0\n")
        await response.write(b"part 1\n")
        return response

    async def broken_stream(request: Any) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part 0\n")
        raise ShopError("in the stream")

    app = web.Application()
    app.router.add_get("/users/{id}", user)
    app.router.add_get("/boom", boom)
    app.router.add_get("/abort", abort)
    app.router.add_get("/stream", stream)
    app.router.add_get("/broken-stream", broken_stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@contextlib.asynccontextmanager
async def sanic_server() -> AsyncIterator[int]:
    from sanic import Sanic
    from sanic.exceptions import Forbidden
    from sanic.response import text

    async def user(request: Any, id: int) -> Any:  # noqa: A002
        return text(f"user {id}")

    async def boom(request: Any) -> Any:
        raise ValueError("boom")

    async def abort(request: Any) -> Any:
        raise Forbidden("no")

    async def stream(request: Any) -> Any:
        response = await request.respond(content_type="text/plain")
        await response.send("part 0\n")
        await response.send("part 1\n")

    async def broken_stream(request: Any) -> Any:
        response = await request.respond(content_type="text/plain")
        await response.send("part 0\n")
        raise ShopError("in the stream")

    app = Sanic(f"shop-{next(_numbers)}", configure_logging=False)
    app.add_route(user, "/users/<id:int>")
    for handler in (boom, abort, stream, broken_stream):
        app.add_route(handler, f"/{handler.__name__.replace('_', '-')}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        Sanic.test_mode = True  # a second start in one process would find no source to compile
        server = await app.create_server(sock=listener, return_asyncio_server=True)
        await server.startup()  # compiles parts of Sanic anew
        yield listener.getsockname()[1]
        await server.close()


class _Tornado:
    """Made where Tornado is there."""

    @staticmethod
    def routes() -> list[Any]:
        from tornado import web

        class User(web.RequestHandler):
            def get(self, id: str) -> None:  # noqa: A002
                self.write(f"user {id}")

        class Boom(web.RequestHandler):
            async def get(self) -> None:
                raise ValueError("boom")

        class Abort(web.RequestHandler):
            def get(self) -> None:
                raise web.HTTPError(403)

        class Stream(web.RequestHandler):
            async def get(self) -> None:
                for number in range(2):
                    self.write(f"part {number}\n")
                    await self.flush()

        class BrokenStream(web.RequestHandler):
            async def get(self) -> None:
                self.write("part 0\n")
                await self.flush()
                raise ShopError("in the stream")

        return [
            (r"/users/([0-9]+)", User),
            (r"/boom", Boom),
            (r"/abort", Abort),
            (r"/stream", Stream),
            (r"/broken-stream", BrokenStream),
        ]


@contextlib.asynccontextmanager
async def tornado_server() -> AsyncIterator[int]:
    from tornado import httpserver, netutil, web

    server = httpserver.HTTPServer(web.Application(_Tornado.routes()))
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield sockets[0].getsockname()[1]
    server.stop()
    await server.close_all_connections()


AIOHTTP = f"{HERE}.aiohttp_server.<locals>"
SANIC = f"{HERE}.sanic_server.<locals>"
TORNADO = f"{HERE}._Tornado.routes.<locals>"
SERVERS: dict[str, Any] = {
    "aiohttp": (aiohttp_server, 7008, "/users/{id}", lambda name: f"{AIOHTTP}.{name}"),
    "sanic": (sanic_server, 7007, "/users/<id:int>", lambda name: f"{SANIC}.{name}"),
    "tornado": (
        tornado_server,
        7005,
        "/users/<var>",
        lambda name: f"{TORNADO}.{name.title().replace('_', '')}.get",
    ),
}


class Site:
    def __init__(self, kind: str, proxy: Proxy) -> None:
        self.server, self.component, self.user_rule, self.view = SERVERS[kind]
        self.proxy = proxy
        self.client = Client(proxy)

    def get(self, path: str, traced: dict[str, str] | None = None) -> Answer:
        return asyncio.run(asyncio.wait_for(self._get(path, traced), 10))

    async def _get(self, path: str, traced: dict[str, str] | None) -> Answer:
        fields = {"Host": "localhost", "Connection": "close"}
        fields.update(self.client.traced() if traced is None else traced)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        async with self.server() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            data = await reader.read()
            writer.close()
        lines, _, body = data.decode().partition("\r\n\r\n")
        status, *pairs = lines.split("\r\n")
        answer = Answer(status.split(" ", 1)[1], body=body.encode())
        answer.headers = [tuple(pair.split(": ", 1)) for pair in pairs]  # type: ignore[misc]
        answer.messages = self.proxy.read()
        return answer

    def plain(self, name: str, rule: str, more: str = "0") -> str:
        handler = self.view(name) if name else ""
        return f"1;{self.component};*;*;{more};{handler};GET:{rule}"

    def said(self, name: str, rule: str, *logs: Any, **options: Any) -> dict[str, Any]:
        span = app_span(self.view(name), self.component, list(logs) or None, **options)
        return message(self.component, self.view(name), f"GET:{rule}", [span])


@pytest.fixture(params=list(SERVERS))
def site(request: pytest.FixtureRequest, proxy: Proxy) -> Site:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"no {request.param}")
    logging.getLogger("aiohttp.server").disabled = True
    logging.getLogger("sanic.error").disabled = True
    logging.getLogger("tornado.application").disabled = True
    return Site(request.param, proxy)


def test_answers(site: Site) -> None:
    for path, status, name, rule in (
        ("/users/3?secret=1", "200", "user", site.user_rule),
        ("/nope", "404", "", "/*"),
        ("/abort", "403", "abort", "/abort"),
    ):
        answer = site.get(path)
        assert answer.status[:3] == status
        assert answer.stitch == site.plain(name, rule)
        assert answer.messages == []


def test_exception(site: Site) -> None:
    answer = site.get("/boom")
    assert answer.status[:3] == "500"
    assert answer.stitch == site.plain("boom", "/boom", "1")
    expected = site.said("boom", "/boom", log("ValueError", "boom"), error=True)
    assert timeless(answer.message) == expected


def test_stream(site: Site) -> None:
    answer = site.get("/stream")
    assert b"part 1\n" in answer.body
    assert answer.stitch == site.plain("stream", "/stream", "+")
    assert timeless(answer.message) == site.said("stream", "/stream")


def test_stream_that_breaks(site: Site) -> None:
    answer = site.get("/broken-stream")
    assert b"part 0\n" in answer.body
    assert answer.stitch == site.plain("broken_stream", "/broken-stream", "+")
    failure = log(f"{HERE}.ShopError", "in the stream")
    expected = site.said("broken_stream", "/broken-stream", failure, error=True)
    assert timeless(answer.message) == expected


def test_nothing_without_the_proxy(site: Site) -> None:
    for path in ("/users/3", "/nope", "/boom", "/stream"):
        answer = site.get(path, traced={})
        assert (answer.stitch, answer.messages) == (None, [])
    assert not losses


class _Served(served.ServedRecording):
    def route(self, status: str) -> wire.Route:
        return wire.Route(7007)


@pytest.mark.parametrize("mode", ["1", "0", None])
def test_no_analysis_goes_on(client: Client, mode: str | None) -> None:
    """sw8-x: 1 of the request goes with its calls; a mode of its own does not."""
    fields = {**client.traced(), **({} if mode is None else {"sw8-x": mode})}
    environ = served.read_environ("GET", fields.get)
    assert environ is not None
    recording = _Served(environ, print, fields["sw8-stitch"], 0)
    assert recording.propagated(1, "stock:8080").get("sw8-x") == ("1" if mode == "1" else None)


def test_a_call_that_is_ended_in_another_context(client: Client) -> None:
    """As by the garbage collector, when a loop is stopped before its tasks are done."""
    environ = served.read_environ("GET", client.traced().get)
    assert environ is not None
    recording = _Served(environ, print, environ["HTTP_SW8_STITCH"], 0)
    elsewhere = contextvars.copy_context()
    reset = elsewhere.run(scope.current.set, recording)
    inherited = elsewhere.copy()
    inherited.run(served.leave, reset)
    assert inherited[scope.current] is None
    elsewhere.run(served.leave, reset)
    assert elsewhere.get(scope.current) is None
