# SPDX-License-Identifier: Apache-2.0
"""Real Starlette and FastAPI apps: the answer header and the message of each situation, in full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import (
    FileResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_client import AsgiAnswer, AsgiClient
from conftest import Proxy, app_span, log, message, timeless
from skystitch.channel import losses
from skystitch.scope import current

HERE = __name__
ENTRY_POINT = "starlette.applications.Starlette.__call__"


class ShopError(Exception):
    pass


async def index(request: Any) -> PlainTextResponse:
    return PlainTextResponse("index")


def threaded(request: Any) -> PlainTextResponse:
    return PlainTextResponse(str(current.get() is not None))


async def boom(request: Any) -> PlainTextResponse:
    raise ValueError("boom")


def threaded_boom(request: Any) -> PlainTextResponse:
    raise ValueError("boom")


async def handled(request: Any) -> PlainTextResponse:
    raise ShopError("sold out")


async def abort(request: Any) -> PlainTextResponse:
    raise HTTPException(request.path_params["code"])


async def status(request: Any) -> PlainTextResponse:
    return PlainTextResponse("x", request.path_params["code"])


async def moved(request: Any) -> RedirectResponse:
    return RedirectResponse("/")


async def parts() -> AsyncIterator[str]:
    for number in range(3):
        await asyncio.sleep(0)
        yield f"part {number}\n"


async def stream(request: Any) -> StreamingResponse:
    return StreamingResponse(parts())


async def broken_stream(request: Any) -> StreamingResponse:
    async def broken() -> AsyncIterator[str]:
        yield "part 0\n"
        raise ShopError("in the stream")

    return StreamingResponse(broken())


async def file(request: Any) -> FileResponse:
    return FileResponse(__file__)


def fail_later() -> None:
    raise LookupError("later")


async def background(request: Any) -> PlainTextResponse:
    return PlainTextResponse("now", background=BackgroundTask(fail_later))


class Shelf(HTTPEndpoint):
    async def get(self, request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["place"])


async def echo(socket: WebSocket) -> None:
    await socket.accept(headers=[(b"x-own", b"1")])
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


async def left(socket: WebSocket) -> None:
    await socket.accept()
    while True:
        await socket.receive_text()


async def broken_socket(socket: WebSocket) -> None:
    await socket.accept()
    raise LookupError("in the socket")


async def refused(socket: WebSocket) -> None:
    await socket.close()


async def on_shop_error(request: Any, error: ShopError) -> PlainTextResponse:
    return PlainTextResponse(str(error), 409)


def make_app(**options: Any) -> Starlette:
    inner = [Route("/books/{isbn}", index), Route("/boom", boom)]
    return Starlette(
        routes=[
            Route("/", index),
            Route("/users/{id:int}", index),
            Route("/threaded", threaded),
            Route("/boom", boom),
            Route("/threaded-boom", threaded_boom),
            Route("/handled", handled),
            Route("/abort/{code:int}", abort),
            Route("/status/{code:int}", status),
            Route("/moved", moved),
            Route("/slash/", index),
            Route("/stream", stream),
            Route("/broken-stream", broken_stream),
            Route("/file", file),
            Route("/background", background),
            Route("/shelves/{place}", Shelf),
            WebSocketRoute("/echo/{room}", echo),
            WebSocketRoute("/left", left),
            WebSocketRoute("/broken", broken_socket),
            WebSocketRoute("/refused", refused),
            Mount("/{lang}/inner", routes=[Mount("/deep", routes=inner)]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent)),
            Mount("/sub", Starlette(routes=inner)),
        ],
        exception_handlers={ShopError: on_shop_error},
        **options,
    )


@pytest.fixture
def client(proxy: Proxy) -> AsgiClient:
    return AsgiClient(proxy)


@pytest.fixture
def app() -> Starlette:
    return make_app()


def plain(handler: str, operation: str, more: str = "0") -> str:
    return f"1;7014;*;*;{more};{handler};{operation}"


@pytest.mark.parametrize(
    ("method", "path", "code", "handler", "operation"),
    [
        ("GET", "/", 200, "index", "GET:/"),
        ("GET", "/users/3?secret=1", 200, "index", "GET:/users/{id:int}"),
        ("HEAD", "/users/3", 200, "index", "HEAD:/users/{id:int}"),
        ("GET", "/threaded", 200, "threaded", "GET:/threaded"),
        ("GET", "/status/500", 500, "status", "GET:/status/{code:int}"),
        ("GET", "/abort/403", 403, "abort", "GET:/abort/{code:int}"),
        ("GET", "/moved", 307, "moved", "GET:/moved"),
        ("GET", "/slash", 307, "", ""),
        ("POST", "/users/3", 405, "", "POST:/users/{id:int}"),
        ("GET", "/shelves/a", 200, "Shelf", "GET:/shelves/{place}"),
        ("POST", "/shelves/a", 405, "Shelf", "POST:/shelves/{place}"),
        ("GET", "/de/inner/deep/books/3", 200, "index", "GET:/{lang}/inner/deep/books/{isbn}"),
        ("GET", "/de/inner/deep/nope", 404, "", "GET:/{lang}/inner/deep/*"),
        ("GET", "/sub/books/3", 200, "index", "GET:/sub/books/{isbn}"),
        ("GET", "/static/conftest.py", 200, "", "GET:/static/*"),
        ("GET", "/nope/42", 404, "", "GET:/*"),
        ("GET", "/file", 200, "file", "GET:/file"),
        ("HEAD", "/stream", 200, "stream", "HEAD:/stream"),
    ],
)
def test_plain_answer(
    app: Any, client: AsgiClient, method: str, path: str, code: int, handler: str, operation: str
) -> None:
    for _ in range(2):  # the second time the route comes from the cache
        answer = client(app, path, method)
        assert (answer.error, answer.status) == (None, str(code))
        assert answer.stitch == plain(f"{HERE}.{handler}" if handler else "", operation)
        assert answer.messages == []
    assert client.proxy.connections == []  # no socket without a message


def check_error(answer: AsgiAnswer, name: str, rule: str, kind: str, text: str, **of: Any) -> None:
    handler, operation = f"{HERE}.{name}", f"GET:{rule}"
    assert answer.stitch == plain(handler, operation, "1")
    assert answer.told[0] == 1, "the message is there when the answer begins"
    span = app_span(handler, 7014, [log(kind, text)], **of)
    assert timeless(answer.message) == message(7014, handler, operation, [span])


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        if "broken" in request.query_params:
            raise LookupError("middleware broke")
        return await call_next(request)


@pytest.mark.parametrize("name", ["boom", "threaded_boom"])
@pytest.mark.parametrize(
    "options",
    [{}, {"debug": True}, {"middleware": [Middleware(Passing), Middleware(GZipMiddleware)]}],
)
def test_unhandled_exception(client: AsgiClient, name: str, options: dict[str, Any]) -> None:
    rule = f"/{name.replace('_', '-')}"
    answer = client(make_app(**options), rule)
    assert type(answer.error) is ValueError  # Starlette lets it go on to the server
    assert answer.status == "500"
    check_error(answer, name, rule, "ValueError", "boom", error=True)
    assert not losses


def test_exception_in_a_mounted_app(app: Any, client: AsgiClient) -> None:
    check_error(client(app, "/sub/boom"), "boom", "/sub/boom", "ValueError", "boom", error=True)


def test_exception_that_a_handler_answers(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/handled")
    assert (answer.error, answer.status, answer.body) == (None, "409", b"sold out")
    check_error(answer, "handled", "/handled", f"{HERE}.ShopError", "sold out")


def test_abort_with_a_server_error(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/abort/503")
    kind = "starlette.exceptions.HTTPException"
    text = str(HTTPException(503))
    check_error(answer, "abort", "/abort/{code:int}", kind, text, error=True)


def test_middleware_that_raises(client: AsgiClient) -> None:
    answer = client(make_app(middleware=[Middleware(Passing)]), "/users/3?broken=1")
    assert answer.stitch == plain("", "", "1")
    span = app_span(ENTRY_POINT, 7014, [log("LookupError", "middleware broke")], error=True)
    assert timeless(answer.message) == message(7014, "", "", [span])


def test_exception_in_the_background_is_too_late(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/background")
    assert type(answer.error) is LookupError
    assert (answer.body, answer.messages) == (b"now", [])
    assert client(app, "/").stitch == plain(f"{HERE}.index", "GET:/", "0!1")


@pytest.mark.parametrize("options", [{}, {"middleware": [Middleware(Passing)]}])
def test_stream(client: AsgiClient, options: dict[str, Any]) -> None:
    answer = client(make_app(**options), "/stream")
    assert answer.body == b"part 0\npart 1\npart 2\n"
    assert answer.stitch == plain(f"{HERE}.stream", "GET:/stream", "+")
    assert answer.told[0] == 0
    assert answer.told[-1] == 1, "the message comes before the end"
    spans = [app_span(f"{HERE}.stream", 7014)]
    assert timeless(answer.message) == message(7014, f"{HERE}.stream", "GET:/stream", spans)


def test_stream_that_the_client_leaves(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/stream", chunks=1)
    spans = [app_span(f"{HERE}.stream", 7014)]
    assert timeless(answer.message) == message(7014, f"{HERE}.stream", "GET:/stream", spans)


def test_stream_that_breaks(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/broken-stream")
    assert answer.error is not None
    assert (answer.status, answer.body) == ("200", b"part 0\n")
    handler = f"{HERE}.broken_stream"
    assert answer.stitch == plain(handler, "GET:/broken-stream", "+")
    span = timeless(answer.message)["spans"][0]
    assert span["error"]
    assert log(f"{HERE}.ShopError", "in the stream") in span["logs"]


def test_websocket(app: Any, client: AsgiClient) -> None:
    answer = client.socket(app, "/echo/blue", "a", "b")
    assert answer.error is None
    assert [sent.get("text") for sent in answer.sent] == [None, "a", "b"]
    assert answer.header("x-own") == "1"
    handler, operation = f"{HERE}.echo", "GET:/echo/{room}"
    assert answer.stitch == plain(handler, operation, "+")
    assert answer.opening == message(7014, handler, operation, [], last=False)
    spans = [app_span(handler, 7014)]
    assert timeless(answer.message) == message(7014, handler, operation, spans, seq=1)


def test_websocket_whose_end_nobody_handles(app: Any, client: AsgiClient) -> None:
    answer = client.socket(app, "/left")
    spans = [app_span(f"{HERE}.left", 7014)]
    assert [log["data"][1] for log in answer.message["spans"][0].get("logs", ())] == []
    assert timeless(answer.message) == message(7014, f"{HERE}.left", "GET:/left", spans, seq=1)


def test_websocket_that_breaks(app: Any, client: AsgiClient) -> None:
    answer = client.socket(make_app(), "/broken")
    span = timeless(answer.message)["spans"][0]
    assert span["error"]
    assert log("LookupError", "in the socket") in span["logs"]


def test_refused_websocket(app: Any, client: AsgiClient) -> None:
    answer = client.socket(app, "/refused")
    assert [sent["type"] for sent in answer.sent] == ["websocket.close"]
    assert answer.told == [1]
    spans = [app_span(f"{HERE}.refused", 7014)]
    assert timeless(answer.message) == message(7014, f"{HERE}.refused", "GET:/refused", spans)


def test_the_apps_own_headers_stay(client: AsgiClient) -> None:
    """A response that is used again must not collect our headers."""
    response = PlainTextResponse("again")
    app = Starlette(routes=[Route("/", lambda request: response)])
    for _ in range(3):
        assert client(app, "/").stitch is not None
    assert b"sw8-stitch" not in dict(response.raw_headers)


def test_root_path(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/v1/users/3", root_path="/v1")
    assert answer.stitch in {
        plain(f"{HERE}.index", "GET:/v1/users/{id:int}"),
        plain("", "GET:/v1/*"),  # a Starlette that takes the path as what follows root_path
    }


def test_nothing_without_the_proxy(app: Any, client: AsgiClient) -> None:
    for traced in ({}, {"sw8": client.traced()["sw8"]}, {"sw8-stitch": "2;-;1;s"}):
        for where in ("/", "/nope", "/boom", "/stream", "/file"):
            answer = client(app, where, traced=traced)
            assert [name for name, _ in answer.headers if "sw8" in name.lower()] == []
            assert answer.messages == []
        answer = client.socket(app, "/echo/a", traced=traced)
        assert answer.stitch is None
        assert answer.messages == []


def test_lifespan(app: Any) -> None:
    sent = []

    async def run() -> None:
        received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> dict[str, Any]:
            return received.pop(0)

        async def send(event: dict[str, Any]) -> None:
            sent.append(event["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    asyncio.run(run())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def make_fastapi() -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/catalogue")
    deep = fastapi.APIRouter(prefix="/deep")

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    @app.get("/denied")
    def denied() -> None:
        raise fastapi.HTTPException(403)

    @app.get("/boom")
    def broken() -> None:
        raise ValueError("boom")

    @router.get("/books/{isbn}")
    def book(isbn: str) -> str:
        return isbn

    @deep.get("/boom/{word}")
    async def deep_boom(word: str) -> None:
        raise ValueError("boom")

    @deep.websocket("/talk/{room}")
    async def talk(socket: WebSocket, room: str) -> None:
        await socket.accept()

    router.include_router(deep, prefix="/well")
    app.include_router(router, prefix="/shop")
    return app


@pytest.mark.parametrize(
    ("method", "path", "code", "handler", "operation"),
    [
        ("GET", "/items/3", 200, "item", "GET:/items/{item_id}"),
        ("GET", "/items/x", 422, "item", "GET:/items/{item_id}"),
        ("POST", "/items/3", 405, "", "POST:/items/{item_id}"),
        ("GET", "/denied", 403, "denied", "GET:/denied"),
        ("GET", "/shop/catalogue/books/3", 200, "book", "GET:/shop/catalogue/books/{isbn}"),
        ("POST", "/shop/catalogue/books/3", 405, "", "POST:/shop/catalogue/books/{isbn}"),
        ("GET", "/shop/catalogue/nope", 404, "", "GET:/*"),
    ],
)
def test_fastapi(
    client: AsgiClient, method: str, path: str, code: int, handler: str, operation: str
) -> None:
    answer = client(make_fastapi(), path, method)
    assert answer.status == str(code)
    name = f"{HERE}.make_fastapi.<locals>.{handler}" if handler else ""
    assert answer.stitch == plain(name, operation)
    assert answer.messages == []


def test_fastapi_exceptions(client: AsgiClient) -> None:
    app = make_fastapi()
    prefix = "make_fastapi.<locals>"
    check_error(client(app, "/boom"), f"{prefix}.broken", "/boom", "ValueError", "boom", error=True)
    rule = "/shop/catalogue/well/deep/boom/{word}"
    answer = client(app, "/shop/catalogue/well/deep/boom/x")
    check_error(answer, f"{prefix}.deep_boom", rule, "ValueError", "boom", error=True)


def test_fastapi_websocket(client: AsgiClient) -> None:
    answer = client.socket(make_fastapi(), "/shop/catalogue/well/deep/talk/blue")
    handler = f"{HERE}.make_fastapi.<locals>.talk"
    operation = "GET:/shop/catalogue/well/deep/talk/{room}"
    assert answer.stitch == plain(handler, operation, "+")
    spans = [app_span(handler, 7014)]
    assert timeless(answer.message) == message(7014, handler, operation, spans, seq=1)


def test_wsgi_app_within(client: AsgiClient) -> None:
    """The outermost answers, once; what fails inside is known."""
    flask = pytest.importorskip("flask")
    middleware = pytest.importorskip("a2wsgi")
    inner = flask.Flask("inner")
    inner.logger.disabled = True
    inner.add_url_rule("/ok", view_func=lambda: "ok", endpoint="ok")
    inner.add_url_rule("/boom", view_func=lambda: 1 // 0, endpoint="boom")
    app = Starlette(routes=[Mount("/old", middleware.WSGIMiddleware(inner))])
    answer = client(app, "/old/ok")
    assert (answer.body, answer.stitch) == (b"ok", plain("", "GET:/old/*"))
    answer = client(app, "/old/boom")
    assert answer.stitch == plain("", "GET:/old/*", "1")
    kinds = [dict(entry["data"])["error.kind"] for entry in answer.message["spans"][0]["logs"]]
    assert kinds == ["ZeroDivisionError"]
