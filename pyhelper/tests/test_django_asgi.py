# SPDX-License-Identifier: Apache-2.0
"""A real Django app under ASGI: the answer header and the message of each situation, in full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils.decorators import sync_and_async_middleware  # noqa: E402

import test_django  # noqa: E402  configures Django
from asgi_client import AsgiClient  # noqa: E402
from conftest import Proxy, app_span, log, message, timeless  # noqa: E402
from skystitch.scope import current, find_scope  # noqa: E402

HERE = __name__
ENTRY_POINT = "django.core.handlers.base.BaseHandler.get_response_async"
# What some views here do, Django says it of them.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
ASYNC_STREAMS = pytest.mark.skipif(django.VERSION < (4, 2), reason="no asynchronous iterators")


class ShopError(Exception):
    pass


async def index(request: Any, **kwargs: Any) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("index")


async def boom(request: Any) -> HttpResponse:
    await asyncio.sleep(0)
    raise ValueError("boom")


async def handled(request: Any) -> HttpResponse:
    raise ShopError("sold out")


async def missing(request: Any) -> HttpResponse:
    raise Http404("no such thing")


def sync_boom(request: Any) -> HttpResponse:
    raise ValueError("boom")


async def stream(request: Any) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"part {number}\n"

    return StreamingHttpResponse(parts())


async def broken_stream(request: Any) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield "part 0\n"
        raise ShopError("in the stream")

    return StreamingHttpResponse(parts())


def sync_stream(request: Any) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "part 0\n"
        assert find_scope() is not None
        yield "part 1\n"

    return StreamingHttpResponse(parts())


def file(request: Any) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


async def tasks(request: Any) -> HttpResponse:
    """The request is known wherever its code runs."""
    here = current.get()

    async def inner() -> bool:
        await asyncio.sleep(0)
        return current.get() is here

    found = await asyncio.gather(inner(), asyncio.create_task(inner()))
    in_thread = await asyncio.get_running_loop().run_in_executor(None, current.get)
    return HttpResponse(str([*found, here is not None, in_thread is here]))


async def slow(request: Any) -> HttpResponse:
    await asyncio.Event().wait()
    return HttpResponse("never")


urlpatterns = [
    path("", index),
    path("users/<int:pk>", index),
    path("boom", boom),
    path("sync-boom", sync_boom),
    path("handled", handled),
    path("missing", missing),
    path("stream", stream),
    path("broken-stream", broken_stream),
    path("sync-stream", sync_stream),
    path("file", file),
    path("tasks", tasks),
    path("slow", slow),
    path("<slug:lang>/", include(([path("books/<isbn>", index)], "inner"), namespace="a")),
    path("sync/", include(test_django.urlpatterns[:3])),
]


def handler500(request: Any) -> HttpResponse:
    return HttpResponse("own page", status=500)


@sync_and_async_middleware
def gate(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def middleware(request: Any) -> Any:
        if "broken" in request.GET:
            raise LookupError("middleware broke")
        return await get_response(request)

    return middleware


def sync_gate(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda request: get_response(request)


class AnswersExceptions:
    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        mark = getattr(asyncio.coroutines, "_is_coroutine", None)
        try:
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)
        except ImportError:  # Django 3.2 and 4.1
            self._is_coroutine = mark

    async def __call__(self, request: Any) -> Any:
        return await self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> Any:
        return HttpResponse(str(error), status=409) if isinstance(error, ShopError) else None


@pytest.fixture(autouse=True)
def urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def client(proxy: Proxy) -> AsgiClient:
    return AsgiClient(proxy)


@pytest.fixture
def app() -> Any:
    return ASGIHandler()


def plain(handler: str, operation: str, more: str = "0") -> str:
    return f"1;7004;*;*;{more};{handler};{operation}"


@pytest.mark.parametrize(
    ("method", "path", "status", "handler", "operation"),
    [
        ("GET", "/", 200, f"{HERE}.index", "GET:/"),
        ("GET", "/users/3?secret=1", 200, f"{HERE}.index", "GET:/users/<int:pk>"),
        ("HEAD", "/users/3", 200, f"{HERE}.index", "HEAD:/users/<int:pk>"),
        ("GET", "/missing", 404, f"{HERE}.missing", "GET:/missing"),
        ("GET", "/nope/42", 404, "", "GET:/*"),
        ("GET", "/de/books/3", 200, f"{HERE}.index", "GET:/<slug:lang>/books/<isbn>"),
        ("GET", "/sync/users/3", 200, "test_django.index", "GET:/sync/users/<int:pk>"),
        ("GET", "/file", 200, f"{HERE}.file", "GET:/file"),
    ],
)
def test_plain_answer(
    app: Any, client: AsgiClient, method: str, path: str, status: int, handler: str, operation: str
) -> None:
    for _ in range(2):  # the second time the route comes from the cache
        answer = client(app, path, method)
        assert answer.error is None
        assert answer.status == str(status)
        assert answer.stitch == plain(handler, operation)
        assert answer.messages == []
    assert client.proxy.connections == []  # no socket without a message


@pytest.mark.parametrize("name", ["boom", "sync_boom"])
@pytest.mark.parametrize("middleware", [[], [f"{HERE}.gate"], [f"{HERE}.sync_gate"]])
def test_unhandled_exception(client: AsgiClient, name: str, middleware: list[str]) -> None:
    with override_settings(MIDDLEWARE=middleware):
        app = ASGIHandler()
    operation = f"GET:/{name.replace('_', '-')}"
    answer = client(app, operation[4:])
    assert (answer.status, answer.body) == ("500", b"own page")
    assert answer.stitch == plain(f"{HERE}.{name}", operation, "1")
    assert answer.told[0] == 1, "the message is there when the answer begins"
    span = app_span(f"{HERE}.{name}", 7004, [log("ValueError", "boom")], error=True)
    assert timeless(answer.message) == message(7004, f"{HERE}.{name}", operation, [span])


def test_propagated_exception(app: Any, client: AsgiClient) -> None:
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True):
        answer = client(app, "/boom")
    assert isinstance(answer.error, ValueError)
    assert answer.status == ""
    span = app_span(f"{HERE}.boom", 7004, [log("ValueError", "boom")], error=True)
    assert timeless(answer.message) == message(7004, f"{HERE}.boom", "GET:/boom", [span])


def test_exception_that_a_middleware_answers(client: AsgiClient) -> None:
    with override_settings(MIDDLEWARE=[f"{HERE}.AnswersExceptions"]):
        app = ASGIHandler()
    answer = client(app, "/handled")
    assert (answer.status, answer.body) == ("409", b"sold out")
    assert answer.stitch == plain(f"{HERE}.handled", "GET:/handled", "1")
    span = app_span(f"{HERE}.handled", 7004, [log(f"{HERE}.ShopError", "sold out")])
    assert timeless(answer.message) == message(7004, f"{HERE}.handled", "GET:/handled", [span])


def test_middleware_that_raises(client: AsgiClient) -> None:
    with override_settings(MIDDLEWARE=[f"{HERE}.gate"]):
        app = ASGIHandler()
    answer = client(app, "/users/3?broken=1")
    assert (answer.status, answer.stitch) == ("500", plain("", "", "1"))
    span = app_span(ENTRY_POINT, 7004, [log("LookupError", "middleware broke")], error=True)
    assert timeless(answer.message) == message(7004, "", "", [span])


def check_stream(answer: Any, name: str, more: int) -> None:
    handler, operation = f"{HERE}.{name.replace('-', '_')}", f"GET:/{name}"
    assert answer.stitch == plain(handler, operation, "+")
    span = app_span(handler, 7004)
    assert timeless(answer.message) == message(7004, handler, operation, [span])
    assert answer.told[0] == 0
    if more:
        assert answer.told[-1] == 1, "the message comes before the end"


@ASYNC_STREAMS
def test_stream(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/stream")
    assert answer.body == b"part 0\npart 1\npart 2\n"
    check_stream(answer, "stream", 1)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_stream_of_a_plain_iterator(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/sync-stream")
    assert answer.body == b"part 0\npart 1\n"
    check_stream(answer, "sync-stream", 1)


@ASYNC_STREAMS
def test_stream_that_breaks(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/broken-stream")
    assert isinstance(answer.error, ShopError)
    assert (answer.status, answer.body) == ("200", b"part 0\n")
    handler = f"{HERE}.broken_stream"
    assert answer.stitch == plain(handler, "GET:/broken-stream", "+")
    span = app_span(handler, 7004, [log(f"{HERE}.ShopError", "in the stream")], error=True)
    assert timeless(answer.message) == message(7004, handler, "GET:/broken-stream", [span])


@ASYNC_STREAMS
def test_stream_that_the_client_leaves(app: Any, client: AsgiClient) -> None:
    """The server's OSError is nothing that the app did wrong."""
    answer = client(app, "/stream", chunks=1)
    check_stream(answer, "stream", 0)


@pytest.mark.skipif(django.VERSION < (5, 0), reason="does not listen for the client's leaving")
def test_client_that_leaves_while_the_view_runs(app: Any, client: AsgiClient) -> None:
    gone = [{"type": "http.request", "more_body": False}, {"type": "http.disconnect"}]
    answer = client(app, "/slow", received=gone)
    assert (answer.error, answer.sent, answer.messages) == (None, [], [])


def test_context(app: Any, client: AsgiClient) -> None:
    assert client(app, "/tasks").body == b"[True, True, True, True]"
    assert find_scope() is None


def test_root_path(app: Any, client: AsgiClient) -> None:
    answer = client(app, "/users/3", root_path="/café")
    assert answer.stitch == plain(f"{HERE}.index", "GET:/caf%C3%A9/users/<int:pk>")


def test_nothing_without_the_proxy(app: Any, client: AsgiClient) -> None:
    for traced in ({}, {"sw8": client.traced()["sw8"]}, {"sw8-stitch": "2;-;1;s"}):
        for where in ("/", "/nope", "/boom", "/sync-stream", "/file"):
            answer = client(app, where, traced=traced)
            assert [name for name, _ in answer.headers if "sw8" in name.lower()] == []
            assert answer.messages == []


def test_other_scopes_are_djangos(app: Any, client: AsgiClient) -> None:
    """Channels routes WebSockets before Django sees them; Django itself refuses them."""
    answer = client.socket(app, "/")
    assert isinstance(answer.error, ValueError)
    assert "Django can only handle ASGI/HTTP connections" in str(answer.error)
