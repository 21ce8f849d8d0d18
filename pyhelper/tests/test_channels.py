# SPDX-License-Identifier: Apache-2.0
"""Consumers of Django Channels: routes through routers within routers, and what is left to Django.
What real servers make of it is tested end to end."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

pytest.importorskip("channels")

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.routing import URLRouter
from django.urls import path, re_path

import test_django  # noqa: F401  configures Django
from asgi_client import AsgiClient
from conftest import app_span, log, message, timeless

HERE = __name__


class Echo(AsyncConsumer):  # type: ignore[misc]
    async def websocket_connect(self, event: Any) -> None:
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, event: Any) -> None:
        if event["text"] == "fail":
            raise ValueError("told to")
        await self.send({"type": "websocket.send", "text": event["text"]})

    async def websocket_disconnect(self, event: Any) -> None:
        raise StopConsumer


class Report(AsyncConsumer):  # type: ignore[misc]
    async def http_request(self, event: Any) -> None:
        headers = [(b"content-length", b"2")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"ok"})
        raise StopConsumer


def make_app() -> Any:
    echo = Echo.as_asgi()
    rooms = URLRouter([re_path(r"^(?P<room>\w+)/$", echo), path("", echo)])
    app = [path("empty/<int:id>/", URLRouter([])), path("chat/<int:shop>/", rooms)]
    return URLRouter([*app, path("reports/<int:year>", Report.as_asgi())])


@pytest.fixture
def client(proxy: Any) -> AsgiClient:
    return AsgiClient(proxy)


@pytest.mark.parametrize(
    ("target", "rule"),
    [("/chat/7/tea/", "/chat/<int:shop>/<room>/"), ("/chat/7/", "/chat/<int:shop>/")],
)
def test_routes_of_routers_within_routers(client: AsgiClient, target: str, rule: str) -> None:
    answer = client.socket(make_app(), target, "a")
    assert answer.error is None
    assert [sent.get("text") for sent in answer.sent] == [None, "a"]
    view, operation = f"{HERE}.Echo", f"GET:{rule}"
    assert answer.stitch == f"1;7004;*;*;+;{view};{operation}"
    expected = message(7004, view, operation, [app_span(view, 7004)], seq=1)
    assert timeless(answer.message) == expected


def test_failure(client: AsgiClient) -> None:
    answer = client.socket(make_app(), "/chat/7/tea/", "fail")
    assert type(answer.error) is ValueError
    assert not [name for name, _ in answer.frames if "skystitch" in name and "plugins" in name]
    (span,) = timeless(answer.message)["spans"]
    assert (span["error"], span["logs"]) == (True, [log("ValueError", "told to")])


def test_no_route(client: AsgiClient) -> None:
    """Of the outermost router's span there is no consumer to name."""
    answer = client.socket(make_app(), "/nope")
    assert type(answer.error) is ValueError
    (span,) = timeless(answer.message)["spans"]
    assert (span["operation"], span["error"]) == ("channels.routing.URLRouter.__call__", True)


def test_consumer_of_http(client: AsgiClient) -> None:
    answer = client(make_app(), "/reports/2024")
    assert (answer.status, answer.body) == ("200", b"ok")
    assert answer.stitch == f"1;7004;*;*;0;{HERE}.Report;GET:/reports/<int:year>"
    assert answer.messages == []


def test_nothing_without_the_proxy(client: AsgiClient) -> None:
    answer = client.socket(make_app(), "/chat/7/tea/", "a", traced={})
    assert (answer.stitch, answer.messages) == (None, [])


def test_they_look_as_they_did() -> None:
    assert inspect.iscoroutinefunction(URLRouter.__call__)
    assert inspect.iscoroutinefunction(AsyncConsumer.__call__)
    assert list(inspect.signature(URLRouter.__call__).parameters)[1:] == [
        "scope",
        "receive",
        "send",
    ]
