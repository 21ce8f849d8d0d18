# SPDX-License-Identifier: Apache-2.0
"""The proxy's part, for an app's own tests: what a request would look like in SkyWalking.

    from skystitch import agent, testing
    agent.start()

    def test_item_asks_the_stock_service():
        proxy = testing.Proxy(app)             # any WSGI or ASGI app; it is one itself
        werkzeug.test.Client(proxy).get("/items/7")
        segment = proxy.segment
        assert segment.operation == "GET:/items/<int:id>"
        assert [span.operation for span in segment.exits] == ["/stock/7"]

Flask: app.wsgi_app = proxy = testing.Proxy(app.wsgi_app), and app.test_client() as ever.
Django: testing.Proxy(get_wsgi_application()) under a client for WSGI, such as werkzeug's; its own
test client leads past the WSGI handler.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Callable
from urllib.parse import unquote

from skystitch import wire

__all__ = ["Proxy", "Segment", "Span"]

_numbers = itertools.count()
_MESSAGE_BYTES = 1 << 20


@dataclass
class Span:
    """One span of the app. Times are in microseconds after the request's begin."""

    id: int
    parent: int  # 0: the proxy's entry span
    type: str  # "local" or "exit"
    layer: str  # "unknown", "http", "database", "cache", "mq", "rpc"
    operation: str
    peer: str
    component: int
    begin: int
    duration: int
    error: bool
    tags: dict[str, str]
    logs: list[dict[str, str]]


@dataclass
class Segment:
    """What the app told of one request."""

    component: int = 0  # 7001 Flask, 7004 Django, ...
    operation: str = ""  # METHOD:/route; empty: no route known
    handler: str = ""  # module.qualname of the view
    spans: list[Span] = field(default_factory=list)
    complete: bool = True  # False: the closing message has not come, as in a stream

    @property
    def exits(self) -> list[Span]:
        """The outgoing calls."""
        return [span for span in self.spans if span.type == "exit"]

    @property
    def errors(self) -> list[dict[str, str]]:
        """The exceptions that were recorded: error.kind, message, stack."""
        return [log for span in self.spans for log in span.logs if log.get("event") == "error"]


class Proxy:
    """A WSGI or ASGI app around another one, that speaks with the helper as the proxy does and
    keeps its fields from the client. One request at a time; Linux."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._name = f"skystitch-testing-{os.getpid()}-{next(_numbers)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(f"\0{self._name}")
        self._listener.listen()
        self._listener.setblocking(False)
        self._connections: list[socket.socket] = []
        self._headers: list[str] = []
        self._messages: list[dict[str, Any]] = []
        self._id = ""

    def __call__(self, *args: Any) -> Any:
        """WSGI: (environ, start_response). ASGI: (scope, receive, send)."""
        if len(args) == 2:
            return self._wsgi(*args)
        return self._asgi(*args)

    @property
    def segment(self) -> Segment:
        """Of the last request; the body of its answer has to be read for all of it."""
        self._read()
        return _stitch(self._headers, [m for m in self._messages if m.get("segment") == self._id])

    def close(self) -> None:
        for connection in (self._listener, *self._connections):
            connection.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> dict[str, str]:
        """The headers that the proxy adds to a request."""
        self._read()
        self._headers, self._messages, self._id = [], [], secrets.token_hex(16)
        texts = [secrets.token_hex(16), self._id, "testing", "testing-1", "GET:/", "testing:80"]
        fields = [wire.base64_text(text) for text in texts]
        fields.insert(2, "0")
        t0 = time.time_ns() // 1000
        return {"sw8": "-".join(["1", *fields]), "sw8-stitch": f"1;@{self._name};{t0};s"}

    def _wsgi(self, environ: MutableMapping[str, Any], start_response: Any) -> Iterable[bytes]:
        for name, value in self._begin().items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value

        def strip(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, self._take(headers), *exc_info)

        body: Iterable[bytes] = self._app(environ, strip)
        return body

    async def _asgi(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = [(name.encode(), value.encode()) for name, value in self._begin().items()]
        scope = {**scope, "headers": [*scope["headers"], *added]}

        async def strip(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "http.response.start":
                headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event["headers"]]
                kept = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self._take(headers)]
                event = {**event, "headers": kept}
            await send(event)

        await self._app(scope, receive, strip)

    def _take(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers without ours, which are kept here."""
        self._headers = [value for name, value in headers if name.lower() == "sw8-stitch"]
        return [item for item in headers if not item[0].lower().startswith("sw8-stitch")]

    def _read(self) -> None:
        """Takes what has come by the channel."""
        try:
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._connections.append(connection)
        except BlockingIOError:
            pass
        for connection in self._connections:
            self._messages += map(json.loads, _packets(connection))


def _packets(connection: socket.socket) -> Iterator[bytes]:
    try:
        while packet := connection.recv(_MESSAGE_BYTES):
            yield packet
    except BlockingIOError:
        pass


def _stitch(headers: list[str], messages: list[dict[str, Any]]) -> Segment:
    """Message beats header, as in the proxy."""
    segment = Segment()
    if headers:
        _, component, begin, duration, more, handler, operation = headers[0].split(";")
        segment = Segment(int(component), unquote(operation), unquote(handler))
        segment.complete = "+" not in more or any(message.get("last") for message in messages)
        if handler:
            times = {"begin": int(begin), "duration": int(duration)}
            segment.spans.append(
                _span({"id": 1, "parent": 0, "component": segment.component, **times}, segment)
            )
    for message in messages:
        segment.component = message.get("component", segment.component)
        segment.operation = message.get("operation", segment.operation)
        segment.handler = message.get("handler", segment.handler)
    told = {item["id"]: item for message in messages for item in message.get("spans", ())}
    known = {span.id: span for span in segment.spans}
    known.update((number, _span(item, segment)) for number, item in told.items())
    segment.spans = [known[number] for number in sorted(known)]
    return segment


def _span(told: dict[str, Any], segment: Segment) -> Span:
    return Span(
        id=told["id"],
        parent=told.get("parent", 0),
        type=told.get("type", "local"),
        layer=told.get("layer", "unknown"),
        operation=told.get("operation") or segment.handler,
        peer=told.get("peer", ""),
        component=told.get("component", 0),
        begin=told.get("begin", 0),
        duration=told.get("duration", 0),
        error=told.get("error", False),
        tags=dict(told.get("tags", ())),
        logs=[dict(log["data"]) for log in told.get("logs", ())],
    )
