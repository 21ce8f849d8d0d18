# SPDX-License-Identifier: Apache-2.0
"""skystitch.testing, used as an app's own tests would."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skystitch import testing

flask = pytest.importorskip("flask")
requests = pytest.importorskip("requests")

from werkzeug.test import Client as WerkzeugClient  # noqa: E402


def make_app(url: str = "") -> Any:
    app = flask.Flask("shop")

    @app.route("/items/<int:number>")
    def item(number: int) -> str:
        if number == 13:
            raise KeyError(number)
        return requests.get(url, timeout=5).text if url else "item"

    @app.route("/stream")
    def stream() -> flask.Response:
        return flask.Response(part for part in ("a", "b"))

    return app


def test_a_route_and_its_handler() -> None:
    with testing.Proxy(make_app()) as proxy:
        answer = WerkzeugClient(proxy).get("/items/7")
        segment = proxy.segment
    assert answer.get_data(as_text=True) == "item"
    assert not [name for name, _ in answer.headers if name.lower().startswith("sw8")]
    assert (segment.component, segment.operation) == (7001, "GET:/items/<int:number>")
    assert segment.handler.endswith("make_app.<locals>.item")
    assert [(span.id, span.type, span.error) for span in segment.spans] == [(1, "local", False)]
    assert segment.spans[0].duration > 0
    assert segment.complete


def test_flasks_own_client_and_an_exception() -> None:
    app = make_app()
    app.wsgi_app = proxy = testing.Proxy(app.wsgi_app)  # type: ignore[method-assign,assignment]
    assert app.test_client().get("/items/13").status_code == 500
    assert [error["error.kind"] for error in proxy.segment.errors] == ["KeyError"]
    assert proxy.segment.spans[0].error
    assert app.test_client().get("/items/7").status_code == 200
    assert proxy.segment.errors == [], "of the last request alone"
    proxy.close()


def test_outgoing_calls(origin: Any) -> None:
    with testing.Proxy(make_app(f"{origin.url}/stock/7")) as proxy:
        assert WerkzeugClient(proxy).get("/items/7").status_code == 200
        (span,) = proxy.segment.exits
    assert (span.operation, span.parent, span.layer) == ("/stock/7", 1, "http")
    assert span.tags["http.status_code"] == "200"


def test_a_stream_is_complete_at_its_end() -> None:
    with testing.Proxy(make_app()) as proxy:
        answer = WerkzeugClient(proxy).get("/stream", buffered=False)
        assert not proxy.segment.complete
        assert answer.data == b"ab"
        answer.close()
        assert proxy.segment.complete


def test_an_app_without_the_helper_tells_nothing() -> None:
    def bare(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Kept", "1")])
        return [b""]

    with testing.Proxy(bare) as proxy:
        assert WerkzeugClient(proxy).get("/").headers["X-Kept"] == "1"
        assert proxy.segment == testing.Segment()


def test_asgi() -> None:
    from skystitch.asgi import Middleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kept", b"1")]})
        await send({"type": "http.response.body", "body": b"fine"})

    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/a", "headers": [], "root_path": ""}
    with testing.Proxy(Middleware(app)) as proxy:
        asyncio.run(proxy(scope, receive, send))
        segment = proxy.segment
    assert sent[0]["headers"] == [(b"x-kept", b"1")]
    assert segment.handler.endswith("test_asgi.<locals>.app")
