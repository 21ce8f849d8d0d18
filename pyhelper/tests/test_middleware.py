# SPDX-License-Identifier: Apache-2.0
"""Apps that no plugin knows, behind skystitch.wsgi.Middleware and skystitch.asgi.Middleware."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from asgi_client import AsgiClient
from conftest import Client, Proxy, app_span, environ, log, message, serve, timeless
from skystitch import asgi, wsgi
from skystitch.scope import current, find_scope

HERE = __name__
PLAIN = [("Content-Type", "text/plain"), ("Content-Length", "5")]
UNKNOWN = [("Content-Type", "text/plain")]


class ShopError(Exception):
    pass


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN)
    return [b"hello"]


def unsized(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", UNKNOWN)
    return [b"hello"]


def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", UNKNOWN)
    yield b"hel"
    assert find_scope() is not None
    yield b"lo"


def broken_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", UNKNOWN)
    yield b"hel"
    raise ShopError("in the stream")


def boom(environ: Any, start_response: Any) -> list[bytes]:
    raise ShopError("boom")


def answers(environ: Any, start_response: Any) -> list[bytes]:
    try:
        raise ShopError("boom")
    except ShopError:
        start_response("500 No", PLAIN)
        return [b"sorry"]


def answers_late(environ: Any, start_response: Any) -> list[bytes]:
    try:
        raise ShopError("boom")
    except ShopError as error:
        caught = (type(error), error, error.__traceback__)
    start_response("500 No", PLAIN, caught)
    return [b"sorry"]


def routed(environ: Any, start_response: Any) -> list[bytes]:
    environ["bottle.route"] = SimpleNamespace(rule="/users/<id>", callback=boom)
    start_response("200 OK", PLAIN)
    return [b"hello"]


def plain(name: str, operation: str = "", more: str = "0") -> str:
    return f"1;7000;*;*;{more};{HERE}.{name};{operation}"


def span(name: str, *logs: dict[str, Any], **of: Any) -> dict[str, Any]:
    return app_span(f"{HERE}.{name}", 7000, list(logs) or None, **of)


def said(name: str, *logs: dict[str, Any], **of: Any) -> dict[str, Any]:
    return message(7000, f"{HERE}.{name}", "", [span(name, *logs, **of)])


SHOP_ERROR = log(f"{HERE}.ShopError", "boom")


def test_plain(client: Client) -> None:
    answer = client(wsgi.Middleware(hello))
    assert (answer.stitch, answer.messages, answer.body) == (plain("hello"), [], b"hello")
    assert type(answer.iterable) is list
    assert current.get() is None


def test_route_and_component(client: Client) -> None:
    answer = client(wsgi.Middleware(routed, component=7015))
    assert answer.stitch == f"1;7015;*;*;0;{HERE}.boom;GET:/users/<id>"


@pytest.mark.parametrize("app", [unsized, generator])
def test_body_of_unknown_length(client: Client, app: Any) -> None:
    answer = client(wsgi.Middleware(app))
    assert answer.body == b"hello"
    assert answer.stitch == plain(app.__name__, more="+")
    assert timeless(answer.message) == said(app.__name__)


def test_stream_that_the_client_leaves(client: Client) -> None:
    answer = client(wsgi.Middleware(generator), chunks=1)
    assert timeless(answer.message) == said("generator")


def test_stream_that_breaks(client: Client) -> None:
    answer = client(wsgi.Middleware(broken_generator))
    assert type(answer.error) is ShopError
    failure = log(f"{HERE}.ShopError", "in the stream")
    assert timeless(answer.message) == said("broken_generator", failure, error=True)


def test_exception(client: Client) -> None:
    answer = client(wsgi.Middleware(boom))
    assert type(answer.error) is ShopError
    assert timeless(answer.message) == said("boom", SHOP_ERROR, error=True)
    without = serve(boom, environ())
    assert [frame for frame in answer.frames if "skystitch/" not in frame[0]] == without.frames


@pytest.mark.parametrize("app", [answers, answers_late])
def test_exception_that_the_app_answers(client: Client, app: Any) -> None:
    answer = client(wsgi.Middleware(app))
    assert (answer.status, answer.body) == ("500 No", b"sorry")
    assert answer.stitch == plain(app.__name__, more="1")
    assert timeless(answer.message) == said(app.__name__, SHOP_ERROR, error=True)


def test_what_the_server_handles_is_not_the_apps(client: Client) -> None:
    def failing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("503 No", PLAIN)
        return [b"hello"]

    try:
        raise ImportError("no faster loop")
    except ImportError:
        assert client(wsgi.Middleware(failing)).messages == []


class FileWrapper:
    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)


def test_files_are_the_servers(client: Client) -> None:
    def file(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", UNKNOWN)
        return environ["wsgi.file_wrapper"]([b"file"])

    answer = client(wsgi.Middleware(file), **{"wsgi.file_wrapper": FileWrapper})
    assert type(answer.iterable) is FileWrapper
    assert len(answer.messages) == 1


def test_nothing_without_the_proxy(client: Client) -> None:
    for app in (hello, unsized, generator, answers):
        answer = client(wsgi.Middleware(app), traced={})
        assert (answer.stitch, answer.messages) == (None, [])


def test_around_a_framework_that_a_plugin_knows(client: Client) -> None:
    """The outermost answers, and only that."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.add_url_rule("/boom", view_func=lambda: 1 // 0)
    answer = client(wsgi.Middleware(app), "/boom")
    assert answer.status.startswith("500")
    assert len(answer.messages) == 1


# ASGI


def asgi_app(
    status: int = 200,
    headers: Any = ((b"content-length", b"5"),),
    parts: Any = (b"hello",),
    error: Any = None,
) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if "route" in scope["query_string"].decode():
            scope["route"] = SimpleNamespace(path="/users/{id}")
            scope["endpoint"] = boom
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            more = number < len(parts) or error is not None
            await send({"type": "http.response.body", "body": part, "more_body": more})
        if error is not None:
            raise error

    app.__qualname__ = "app"
    return app


@pytest.fixture
def asgi_client(proxy: Proxy) -> AsgiClient:
    return AsgiClient(proxy)


def test_asgi_plain(asgi_client: AsgiClient) -> None:
    answer = asgi_client(asgi.Middleware(asgi_app()))
    assert (answer.stitch, answer.messages, answer.body) == (plain("app"), [], b"hello")


def test_asgi_route(asgi_client: AsgiClient) -> None:
    answer = asgi_client(asgi.Middleware(asgi_app(), component=7018), "/users/3?route")
    assert answer.stitch == f"1;7018;*;*;0;{HERE}.boom;GET:/users/{{id}}"


def test_asgi_stream(asgi_client: AsgiClient) -> None:
    answer = asgi_client(asgi.Middleware(asgi_app(headers=(), parts=(b"hel", b"lo"))))
    assert answer.stitch == plain("app", more="+")
    assert answer.told == [0, 0, 1]
    assert timeless(answer.message) == said("app")


def test_asgi_stream_that_breaks(asgi_client: AsgiClient) -> None:
    answer = asgi_client(asgi.Middleware(asgi_app(headers=(), error=ShopError("boom"))))
    assert type(answer.error) is ShopError
    assert timeless(answer.message) == said("app", SHOP_ERROR, error=True)


def test_asgi_exception(asgi_client: AsgiClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ShopError("boom")

    answer = asgi_client(asgi.Middleware(app))
    assert type(answer.error) is ShopError
    if sys.version_info >= (3, 11):  # before that, tracebacks cannot be mended
        assert [frame[1] for frame in answer.frames] == ["app"]
    assert answer.message["spans"][0]["error"]


def test_asgi_exception_that_the_app_answers(asgi_client: AsgiClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise ShopError("boom")
        except ShopError:
            await asgi_app(status=500)(scope, receive, send)

    answer = asgi_client(asgi.Middleware(app))
    assert answer.error is None
    assert answer.stitch is not None
    assert answer.message["spans"][0]["logs"][0]["data"][:3] == SHOP_ERROR["data"]


def test_asgi_server_that_refuses_the_headers(asgi_client: AsgiClient) -> None:
    async def strict(scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            raise ValueError("no such header")

        await asgi.Middleware(asgi_app())(scope, receive, refuse)

    answer = asgi_client(strict)
    assert type(answer.error) is ValueError
    assert answer.message["spans"][0]["error"]


def test_asgi_unknown_messages_pass(asgi_client: AsgiClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.debug", "info": {}})
        await asgi_app()(scope, receive, send)

    answer = asgi_client(asgi.Middleware(app))
    assert answer.sent[0] == {"type": "http.response.debug", "info": {}}


def test_asgi_call_that_is_given_up(client: Client) -> None:
    """A coroutine that nobody ends is closed by the garbage collector, in any context."""

    class Never:
        def __await__(self) -> Iterator[None]:
            yield

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Never()

    headers = [(name.encode(), value.encode()) for name, value in client.traced().items()]
    scope = {"type": "http", "method": "GET", "headers": headers}
    call = asgi.Middleware(app)(scope, None, None)  # type: ignore[arg-type]
    contextvars.copy_context().run(call.send, None)
    assert current.get() is None
    call.close()
    assert current.get() is None
    assert client.proxy.read() == []
