# SPDX-License-Identifier: Apache-2.0
"""Real Bottle, Falcon and Pyramid apps: the answer header and the message of each situation, in
full. Each app has the same routes; what differs stands in FRAMEWORKS."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from asgi_client import AsgiClient
from conftest import Client, Proxy, app_span, log, message, timeless
from skystitch.scope import current

HERE = __name__
pytestmark = [  # of what Pyramid brings along
    pytest.mark.filterwarnings("ignore:pkg_resources is deprecated"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class ShopError(Exception):
    pass


def parts() -> Iterator[bytes]:
    yield b"part 0\n"
    yield b"part 1\n"


def broken_parts() -> Iterator[bytes]:
    yield b"part 0\n"
    raise ShopError("in the stream")


def make_bottle() -> Any:
    import bottle

    app = bottle.Bottle()

    @app.route("/users/<id:int>")
    def user(id: int) -> str:  # noqa: A002
        return f"user {id}"

    @app.route("/boom")
    def boom() -> str:
        raise ValueError("boom")

    @app.route("/abort/<code:int>")
    def abort(code: int) -> str:
        bottle.abort(code)
        return ""

    @app.route("/stream")
    def stream() -> Iterator[bytes]:
        return parts()

    @app.route("/broken-stream")
    def broken_stream() -> Iterator[bytes]:
        return broken_parts()

    return app


def make_falcon() -> Any:
    import falcon

    class User:
        def on_get(self, request: Any, response: Any, id: int) -> None:  # noqa: A002
            response.text = f"user {id}"

    class Boom:
        def on_get(self, request: Any, response: Any) -> None:
            raise ValueError("boom")

    class Abort:
        def on_get(self, request: Any, response: Any, code: int) -> None:
            raise falcon.HTTPError(str(code))

    class Stream:
        def on_get(self, request: Any, response: Any) -> None:
            response.stream = parts()

    class BrokenStream:
        def on_get(self, request: Any, response: Any) -> None:
            response.stream = broken_parts()

    app = falcon.App()
    app.add_route("/users/{id:int}", User())
    app.add_route("/boom", Boom())
    app.add_route("/abort/{code:int}", Abort())
    app.add_route("/stream", Stream())
    app.add_route("/broken-stream", BrokenStream())
    return app


def make_pyramid() -> Any:
    from pyramid import httpexceptions
    from pyramid.config import Configurator
    from pyramid.response import Response

    def boom(request: Any) -> Any:
        raise ValueError("boom")

    def abort(request: Any) -> Any:
        raise httpexceptions.exception_response(int(request.matchdict["code"]))

    views = {
        "/users/{id}": lambda request: Response(f"user {request.matchdict['id']}"),
        "/boom": boom,
        "/abort/{code}": abort,
        "/stream": lambda request: Response(app_iter=parts()),
        "/broken-stream": lambda request: Response(app_iter=broken_parts()),
    }
    with Configurator() as config:
        for pattern, view in views.items():
            config.add_route(pattern, pattern)
            config.add_view(view, route_name=pattern, request_method="GET")
        return config.make_wsgi_app()


@dataclass(frozen=True)
class Framework:
    make: Any
    component: int
    user_rule: str
    abort_rule: str
    names: dict[str, str]  # of the views
    abort_kind: str
    raises: bool  # whether what nobody handles leaves the app
    entry_point: str


def qualified(make: Any, *names: str) -> str:
    return ".".join([HERE, make.__name__, "<locals>", *names])


ROUTER = "pyramid.router.Router.handle_request"
VIEWS = ("user", "boom", "abort", "stream", "broken_stream")
FRAMEWORKS = {
    "bottle": Framework(
        make_bottle,
        7015,
        "/users/<id:int>",
        "/abort/<code:int>",
        {name: qualified(make_bottle, name) for name in VIEWS},
        "",  # as the answer, which Bottle takes it for
        raises=False,
        entry_point="bottle.Bottle.__call__",
    ),
    "falcon": Framework(
        make_falcon,
        7012,
        "/users/{id:int}",
        "/abort/{code:int}",
        {name: qualified(make_falcon, name.title().replace("_", ""), "on_get") for name in VIEWS},
        "falcon.http_error.HTTPError",
        raises=False,
        entry_point="falcon.app.App.__call__",
    ),
    "pyramid": Framework(
        make_pyramid,
        7009,
        "/users/{id}",
        "/abort/{code}",
        dict.fromkeys(VIEWS, ROUTER),
        "pyramid.httpexceptions.HTTPServiceUnavailable",
        raises=True,
        entry_point="pyramid.router.Router.__call__",
    ),
}


@pytest.fixture(params=list(FRAMEWORKS))
def of(request: pytest.FixtureRequest) -> Framework:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"no {request.param}")
    return FRAMEWORKS[request.param]


@pytest.fixture
def app(of: Framework) -> Any:
    return of.make()


def test_answers(of: Framework, app: Any, client: Client) -> None:
    for method, path, status, name, rule in (
        ("GET", "/users/3?secret=1", "200", "user", of.user_rule),
        ("HEAD", "/users/3", "200", "user", of.user_rule),
        ("GET", "/nope", "404", "", "/*"),
        ("GET", "/abort/403", "403", "abort", of.abort_rule),
    ):
        if method == "HEAD" and of.make is not make_bottle:
            continue  # no such responder: 405 or 404
        for _ in range(2):
            answer = client(app, path, method)
            assert answer.status[:3] == status
            handler = of.names[name] if name else ""
            operation = f"{method}:{rule}"
            assert answer.stitch == f"1;{of.component};*;*;0;{handler};{operation}"
            assert answer.messages == []
    assert current.get() is None


def said(of: Framework, name: str, rule: str, *logs: Any, **options: Any) -> dict[str, Any]:
    span = app_span(of.names[name], of.component, list(logs) or None, **options)
    return message(of.component, of.names[name], f"GET:{rule}", [span])


def test_exception(of: Framework, app: Any, client: Client) -> None:
    answer = client(app, "/boom")
    assert type(answer.error) is (ValueError if of.raises else type(None))
    if not of.raises:
        assert answer.status[:3] == "500"
        assert answer.stitch == f"1;{of.component};*;*;1;{of.names['boom']};GET:/boom"
    expected = said(of, "boom", "/boom", log("ValueError", "boom"), error=True)
    assert timeless(answer.message) == expected


def test_abort_with_a_server_error(of: Framework, app: Any, client: Client) -> None:
    answer = client(app, "/abort/503")
    assert answer.status[:3] == "503"
    if not of.abort_kind:
        assert answer.messages == []
        return
    span = answer.message["spans"][0]
    assert span["error"]
    assert dict(span["logs"][0]["data"])["error.kind"] == of.abort_kind


def test_stream(of: Framework, app: Any, client: Client) -> None:
    answer = client(app, "/stream")
    assert answer.body == b"part 0\npart 1\n"
    assert answer.stitch == f"1;{of.component};*;*;+;{of.names['stream']};GET:/stream"
    assert timeless(answer.message) == said(of, "stream", "/stream")


def test_stream_that_breaks(of: Framework, app: Any, client: Client) -> None:
    answer = client(app, "/broken-stream")
    assert type(answer.error) is ShopError
    failure = log(f"{HERE}.ShopError", "in the stream")
    expected = said(of, "broken_stream", "/broken-stream", failure, error=True)
    assert timeless(answer.message) == expected


def test_nothing_without_the_proxy(of: Framework, app: Any, client: Client) -> None:
    for path in ("/users/3", "/nope", "/boom", "/stream"):
        answer = client(app, path, traced={})
        assert (answer.stitch, answer.messages) == (None, [])


def test_falcon_asgi(proxy: Proxy) -> None:
    pytest.importorskip("falcon")
    import falcon.asgi

    class User:
        async def on_get(self, request: Any, response: Any, id: int) -> None:  # noqa: A002
            response.text = f"user {id}"

    class Boom:
        async def on_get(self, request: Any, response: Any) -> None:
            raise ValueError("boom")

    app = falcon.asgi.App()
    app.add_route("/users/{id:int}", User())
    app.add_route("/boom", Boom())
    client = AsgiClient(proxy)
    prefix = f"{HERE}.test_falcon_asgi.<locals>"
    answer = client(app, "/users/3")
    assert answer.stitch == f"1;7012;*;*;0;{prefix}.User.on_get;GET:/users/{{id:int}}"
    assert answer.messages == []
    answer = client(app, "/boom")
    assert answer.status == "500"
    span = app_span(f"{prefix}.Boom.on_get", 7012, [log("ValueError", "boom")], error=True)
    assert timeless(answer.message) == message(7012, f"{prefix}.Boom.on_get", "GET:/boom", [span])
    assert client(app, "/nope").stitch == "1;7012;*;*;0;;GET:/*"
