# SPDX-License-Identifier: Apache-2.0
"""A real Django app under WSGI: the answer header and the message of each situation, in full."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

from conftest import Client, Proxy, app_span, log, message, serve, timeless  # noqa: E402

if not settings.configured:
    settings.configure(
        SECRET_KEY="of the tests",
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF=__name__,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()

from django.core.exceptions import PermissionDenied, SuspiciousOperation  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    Http404,
    HttpResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import clear_url_caches, include, path, re_path  # noqa: E402
from django.views import View  # noqa: E402
from django.views.decorators.http import require_GET  # noqa: E402

HERE = __name__
ENTRY_POINT = "django.core.handlers.base.BaseHandler.get_response"


class ShopError(Exception):
    pass


def index(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("index")


def boom(request: Any, *args: str, **kwargs: str) -> HttpResponse:
    raise ValueError("boom")


def caused(request: Any) -> HttpResponse:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ShopError("sold out") from error


def handled(request: Any) -> HttpResponse:
    raise ShopError("sold out")


def missing(request: Any) -> HttpResponse:
    raise Http404("no such thing")


def denied(request: Any) -> HttpResponse:
    raise PermissionDenied("not you")


def suspicious(request: Any) -> HttpResponse:
    raise SuspiciousOperation("hm")


def status(request: Any, code: int) -> HttpResponse:
    return HttpResponse(status=code)


def moved(request: Any) -> HttpResponse:
    return redirect("/")


@require_GET
def only_get(request: Any) -> HttpResponse:
    return HttpResponse("got")


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"part {number}\n" for number in range(3))


def broken_stream(request: Any) -> StreamingHttpResponse:
    def generate() -> Iterator[str]:
        yield "part 0\n"
        raise ShopError("in the stream")

    return StreamingHttpResponse(generate())


def file(request: Any) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


def memory_file(request: Any) -> FileResponse:
    return FileResponse(io.BytesIO(b"x" * 100_000))


def generated_file(request: Any) -> FileResponse:
    return FileResponse(iter([b"one", b"two"]))


class Shelf(View):
    def get(self, request: Any, place: str) -> HttpResponse:
        return HttpResponse(place)


inner = ([path("books/<isbn>", index, name="book"), re_path(r"^(\d+)/$", boom)], "inner")

urlpatterns = [
    path("", index),
    path("users/<int:pk>", index),
    path("boom", boom),
    path("caused", caused),
    path("handled", handled),
    path("missing", missing),
    path("denied", denied),
    path("suspicious", suspicious),
    path("status/<int:code>", status),
    path("moved", moved),
    path("only-get", only_get),
    path("slash/", index),
    path("stream", stream),
    path("broken-stream", broken_stream),
    path("file", file),
    path("memory-file", memory_file),
    path("generated-file", generated_file),
    path("shelves/<place>", Shelf.as_view()),
    path("partial", functools.partial(index, pk=3)),
    path("café/100%; a", index),
    path("<slug:lang>/inner/", include(inner, namespace="a")),
    re_path(r"^parts/(?P<pk>[0-9]+)/$", index),
    re_path(r"^v1\.0/(?:page-(?P<page>\d+)/)?$", index),
]


def handler500(request: Any) -> HttpResponse:
    return HttpResponse("own page", status=500)


def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def gate(request: Any) -> Any:
        if "closed" in request.GET:
            return HttpResponse("closed", status=503)
        if "broken" in request.GET:
            raise LookupError("middleware broke")
        if "missing" in request.GET:
            raise Http404("by middleware")
        response = get_response(request)
        if "late" in request.GET:
            raise LookupError("middleware broke late")
        return response

    return gate


class AnswersExceptions:
    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> Any:
        if "fails" in request.GET:
            raise LookupError("no page for this")
        code = int(request.GET.get("code", "409"))
        return HttpResponse(str(error), status=code) if isinstance(error, ShopError) else None


@pytest.fixture
def app() -> Any:
    return WSGIHandler()


def plain(handler: str, operation: str, more: str = "0") -> str:
    return f"1;7004;*;*;{more};{handler};{operation}"


@pytest.mark.parametrize(
    ("method", "path", "status", "handler", "operation"),
    [
        ("GET", "/", 200, f"{HERE}.index", "GET:/"),
        ("GET", "/users/3?secret=1", 200, f"{HERE}.index", "GET:/users/<int:pk>"),
        ("HEAD", "/users/3", 200, f"{HERE}.index", "HEAD:/users/<int:pk>"),
        ("GET", "/status/500", 500, f"{HERE}.status", "GET:/status/<int:code>"),
        ("GET", "/status/404", 404, f"{HERE}.status", "GET:/status/<int:code>"),
        ("GET", "/missing", 404, f"{HERE}.missing", "GET:/missing"),
        ("GET", "/denied", 403, f"{HERE}.denied", "GET:/denied"),
        ("GET", "/suspicious", 400, f"{HERE}.suspicious", "GET:/suspicious"),
        ("GET", "/moved", 302, f"{HERE}.moved", "GET:/moved"),
        ("POST", "/only-get", 405, f"{HERE}.only_get", "POST:/only-get"),
        ("POST", "/shelves/a", 405, f"{HERE}.Shelf", "POST:/shelves/<place>"),
        ("GET", "/shelves/a", 200, f"{HERE}.Shelf", "GET:/shelves/<place>"),
        ("GET", "/partial", 200, f"{HERE}.index", "GET:/partial"),
        ("GET", "/café/100%; a", 200, f"{HERE}.index", "GET:/caf%C3%A9/100%25%3B%20a"),
        ("GET", "/de/inner/books/3", 200, f"{HERE}.index", "GET:/<slug:lang>/inner/books/<isbn>"),
        ("GET", "/parts/3/", 200, f"{HERE}.index", "GET:/parts/<pk>/"),
        ("GET", "/v1.0/page-2/", 200, f"{HERE}.index", "GET:/v1.0/page-<page>/"),
        ("GET", "/nope/42", 404, "", "GET:/*"),
        ("GET", "/slash", 404, "", "GET:/*"),
        ("GET", "/file", 200, f"{HERE}.file", "GET:/file"),
        ("GET", "/memory-file", 200, f"{HERE}.memory_file", "GET:/memory-file"),
    ],
)
def test_plain_answer(
    app: Any, client: Client, method: str, path: str, status: int, handler: str, operation: str
) -> None:
    for _ in range(2):  # the second time the route comes from the cache
        answer = client(app, path, method)
        assert answer.status.startswith(str(status))
        assert answer.stitch == plain(handler, operation)
        assert answer.messages == []
        assert answer.error is None
    assert client.proxy.connections == []  # no socket without a message


UNHANDLED = app_span(f"{HERE}.boom", 7004, [log("ValueError", "boom")], error=True)
UNHANDLED_MESSAGE = message(7004, f"{HERE}.boom", "GET:/boom", [UNHANDLED])


@pytest.mark.parametrize("debug", [False, True])
def test_unhandled_exception(app: Any, client: Client, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        answer = client(app, "/boom")
    assert answer.status == "500 Internal Server Error"
    assert (answer.body == b"own page") is not debug  # handler500
    assert answer.stitch == plain(f"{HERE}.boom", "GET:/boom", "1")
    assert timeless(answer.message) == UNHANDLED_MESSAGE


def test_exception_in_an_included_view(app: Any, client: Client) -> None:
    answer = client(app, "/de/inner/42/")
    operation = "GET:/<slug:lang>/inner/<var>/"
    assert answer.stitch == plain(f"{HERE}.boom", operation, "1")
    assert timeless(answer.message) == message(7004, f"{HERE}.boom", operation, [UNHANDLED])


def test_propagated_exception(app: Any, client: Client) -> None:
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True):
        answer = client(app, "/boom")
    assert isinstance(answer.error, ValueError)
    assert answer.status == ""
    assert timeless(answer.message) == UNHANDLED_MESSAGE


def test_stack_has_the_causes_and_no_frames_of_ours(app: Any, client: Client) -> None:
    data = dict(client(app, "/caused").message["spans"][0]["logs"][0]["data"])
    assert "KeyError: 'the cause'" in data["stack"]
    assert data["stack"].endswith(f"{HERE}.ShopError: sold out\n")
    assert "in caused" in data["stack"]
    assert "skystitch" not in data["stack"]


def test_exception_that_a_middleware_answers(client: Client) -> None:
    with override_settings(MIDDLEWARE=[f"{HERE}.AnswersExceptions"]):
        app = WSGIHandler()
    answer = client(app, "/handled")
    assert (answer.status, answer.body) == ("409 Conflict", b"sold out")
    assert answer.stitch == plain(f"{HERE}.handled", "GET:/handled", "1")
    logs = [log(f"{HERE}.ShopError", "sold out")]
    span = app_span(f"{HERE}.handled", 7004, logs)
    assert timeless(answer.message) == message(7004, f"{HERE}.handled", "GET:/handled", [span])
    answer = client(app, "/handled?code=500")
    span = app_span(f"{HERE}.handled", 7004, logs, error=True)
    assert timeless(answer.message) == message(7004, f"{HERE}.handled", "GET:/handled", [span])
    # What the middleware leaves to Django is Django's.
    assert client(app, "/missing").messages == []
    assert timeless(client(app, "/boom").message) == UNHANDLED_MESSAGE
    answer = client(app, "/handled?fails=1")
    logs = [log(f"{HERE}.ShopError", "sold out"), log("LookupError", "no page for this")]
    span = app_span(f"{HERE}.handled", 7004, logs, error=True)
    assert timeless(answer.message) == message(7004, f"{HERE}.handled", "GET:/handled", [span])


def test_middleware(client: Client) -> None:
    with override_settings(MIDDLEWARE=[f"{HERE}.middleware"]):
        app = WSGIHandler()
    answer = client(app, "/users/3?closed=1")
    assert (answer.status, answer.body) == ("503 Service Unavailable", b"closed")
    assert (answer.stitch, answer.messages) == (plain("", ""), [])

    answer = client(app, "/users/3?missing=1")
    assert (answer.stitch, answer.messages) == (plain("", "GET:/*"), [])

    answer = client(app, "/users/3?broken=1")
    assert answer.status.startswith("500")
    assert answer.stitch == plain("", "", "1")
    span = app_span(ENTRY_POINT, 7004, [log("LookupError", "middleware broke")], error=True)
    assert timeless(answer.message) == message(7004, "", "", [span])

    answer = client(app, "/users/3?late=1")
    operation = "GET:/users/<int:pk>"
    assert answer.stitch == plain(f"{HERE}.index", operation, "1")
    span = app_span(
        f"{HERE}.index", 7004, [log("LookupError", "middleware broke late")], error=True
    )
    assert timeless(answer.message) == message(7004, f"{HERE}.index", operation, [span])


def test_bad_host_stays_a_400(app: Any, client: Client) -> None:
    """The SkyWalking agent makes a 500 of it."""
    with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"]):
        app = WSGIHandler()
    answer = client(app, "/users/3", HTTP_HOST="evil.example")
    assert answer.status == "400 Bad Request"
    assert (answer.stitch, answer.messages) == (plain("", ""), [])


def test_slash_redirect(client: Client) -> None:
    with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"]):
        app = WSGIHandler()
    answer = client(app, "/slash")
    assert answer.status.startswith("301")
    assert (answer.stitch, answer.messages) == (plain("", ""), [])


def test_script_name(app: Any, client: Client) -> None:
    answer = client(app, "/users/3", SCRIPT_NAME="/v1")
    assert answer.stitch == plain(f"{HERE}.index", "GET:/v1/users/<int:pk>")
    with override_settings(FORCE_SCRIPT_NAME="/forced"):
        answer = client(app, "/users/3")
    assert answer.stitch == plain(f"{HERE}.index", "GET:/forced/users/<int:pk>")


STREAM_MESSAGE = message(7004, f"{HERE}.stream", "GET:/stream", [app_span(f"{HERE}.stream", 7004)])


def test_stream(app: Any, client: Client) -> None:
    answer = client(app, "/stream")
    assert answer.body == b"part 0\npart 1\npart 2\n"
    assert answer.stitch == plain(f"{HERE}.stream", "GET:/stream", "+")
    assert timeless(answer.message) == STREAM_MESSAGE


def test_stream_that_the_client_leaves(app: Any, client: Client) -> None:
    answer = client(app, "/stream", chunks=1)
    assert answer.iterable._body.closed
    assert timeless(answer.message) == STREAM_MESSAGE


def test_stream_that_breaks(app: Any, client: Client) -> None:
    answer = client(app, "/broken-stream")
    assert isinstance(answer.error, ShopError)
    assert (answer.status, answer.body) == ("200 OK", b"part 0\n")
    handler = f"{HERE}.broken_stream"
    assert answer.stitch == plain(handler, "GET:/broken-stream", "+")
    span = app_span(handler, 7004, [log(f"{HERE}.ShopError", "in the stream")], error=True)
    assert timeless(answer.message) == message(7004, handler, "GET:/broken-stream", [span])


def test_generated_file_is_a_stream(app: Any, client: Client) -> None:
    answer = client(app, "/generated-file")
    assert answer.body == b"onetwo"
    assert answer.stitch == plain(f"{HERE}.generated_file", "GET:/generated-file", "+")
    assert len(answer.messages) == 1


class FileWrapper:
    def __init__(self, file: Any, size: int = 8192) -> None:
        self.file, self.close = file, file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(8192), b"")


def test_files_are_the_servers(app: Any, client: Client) -> None:
    answer = client(app, "/file", **{"wsgi.file_wrapper": FileWrapper})
    assert type(answer.iterable) is FileWrapper
    assert answer.body == Path(__file__).read_bytes()
    assert (answer.stitch, answer.messages) == (plain(f"{HERE}.file", "GET:/file"), [])


def test_nothing_without_the_proxy(app: Any, client: Client) -> None:
    for traced in ({}, {"sw8": client.traced()["sw8"]}, {"sw8-stitch": "2;-;1;s"}):
        for where in ("/", "/nope", "/boom", "/stream", "/file"):
            answer = client(app, where, traced=traced)
            assert [name for name, _ in answer.headers if "sw8" in name.lower()] == []
            assert answer.messages == []


def test_not_reported_unless_kept(app: Any, client: Client) -> None:
    traced = client.traced(flags="", sample="0")
    answer = client(app, "/stream", traced=traced)
    assert (answer.stitch, answer.messages) == (plain(f"{HERE}.stream", "GET:/stream", "?"), [])
    answer = client(app, "/boom", traced=traced)
    assert answer.stitch == plain(f"{HERE}.boom", "GET:/boom", "1")
    assert timeless(answer.message) == UNHANDLED_MESSAGE


def test_view_that_calls_an_app(app: Any, client: Client, proxy: Proxy) -> None:
    """Another handler with its own environ, inside of a view: no request of the proxy's."""
    seen = []

    def outside(request: Any) -> HttpResponse:
        seen.append(serve(app, {**request.META, "PATH_INFO": "/users/3"}))
        return HttpResponse("outside")

    urlpatterns.append(path("outside", outside))
    try:
        answer = client(app, "/outside")
    finally:
        urlpatterns.pop()
    handler = f"{HERE}.test_view_that_calls_an_app.<locals>.outside"
    assert answer.stitch == plain(handler, "GET:/outside")
    assert seen[0].body == b"index"
    assert seen[0].stitch is None


def test_routes_with_a_language(client: Client) -> None:
    from django.conf.urls.i18n import i18n_patterns

    global urlpatterns
    with override_settings(
        MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"],
        LANGUAGES=[("en", "English"), ("de", "German")],
    ):
        app = WSGIHandler()
        own = [*urlpatterns]
        urlpatterns[:] = i18n_patterns(path("users/<int:pk>", index))
        try:
            clear_url_caches()
            answer = client(app, "/de/users/3")
        finally:
            urlpatterns[:] = own
            clear_url_caches()
    assert answer.status.startswith("200")
    assert answer.stitch == plain(f"{HERE}.index", "GET:/de/users/<int:pk>")


def test_rest_framework(client: Client) -> None:
    pytest.importorskip("rest_framework")
    from rest_framework import exceptions, response, routers, viewsets

    class Orders(viewsets.ViewSet):
        authentication_classes = ()
        permission_classes = ()

        def retrieve(self, request: Any, pk: str) -> Any:
            if pk == "9":
                raise ValueError("boom")
            if pk == "8":
                raise exceptions.PermissionDenied
            return response.Response({"id": pk})

    router = routers.SimpleRouter()
    router.register("orders", Orders, basename="order")
    own = [*urlpatterns]
    urlpatterns[:] = [path("api/", include(router.urls))]
    try:
        clear_url_caches()
        with override_settings(REST_FRAMEWORK={"UNAUTHENTICATED_USER": None}):
            answers = [client(WSGIHandler(), f"/api/orders/{pk}/") for pk in (3, 8, 9)]
    finally:
        urlpatterns[:] = own
        clear_url_caches()
    handler = f"{HERE}.test_rest_framework.<locals>.Orders"
    operation = "GET:/api/orders/<pk>/"
    assert [answer.status[:3] for answer in answers] == ["200", "403", "500"]
    assert [answer.stitch for answer in answers] == [
        plain(handler, operation),
        plain(handler, operation),
        plain(handler, operation, "1"),
    ]
    span = app_span(handler, 7004, [log("ValueError", "boom")], error=True)
    assert timeless(answers[2].message) == message(7004, handler, operation, [span])
