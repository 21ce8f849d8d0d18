# SPDX-License-Identifier: Apache-2.0
"""An ASGI server as an app sees it: one request or WebSocket, what was sent, how the call ended."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conftest import Answer, Client, Proxy

START = ("http.response.start", "websocket.accept", "websocket.http.response.start")


@dataclass
class AsgiAnswer(Answer):
    sent: list[dict[str, Any]] = field(default_factory=list)
    #: How many of the messages had come when each thing was sent.
    told: list[int] = field(default_factory=list)
    #: What was said of a WebSocket before it was accepted.
    opening: dict[str, Any] | None = None


class AsgiClient(Client):
    """Sends requests through the proxy to an ASGI app."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(proxy)
        self.timeout = 10.0

    def __call__(  # type: ignore[override]
        self,
        app: Callable[..., Any],
        path: str = "/",
        method: str = "GET",
        *,
        headers: dict[str, str] | None = None,
        traced: dict[str, str] | None = None,
        received: list[dict[str, Any]] | None = None,
        chunks: int | None = None,
        **scope: Any,
    ) -> AsgiAnswer:
        """chunks: after so many parts of the body the server says that the client has gone."""
        sent = {
            "host": "localhost",
            **(self.traced() if traced is None else traced),
            **(headers or {}),
        }
        path, _, query = path.partition("?")
        made = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            **scope,
        }
        answer = AsgiAnswer()
        if received is None:
            received = [{"type": "http.request", "body": b"", "more_body": False}]
        asyncio.run(
            asyncio.wait_for(self._serve(app, made, received, answer, chunks), self.timeout)
        )
        self._collect(answer)
        return answer

    def socket(self, app: Callable[..., Any], path: str, *texts: str, **options: Any) -> AsgiAnswer:
        """A WebSocket whose client sends some texts and then closes it."""
        received: list[dict[str, Any]] = [{"type": "websocket.connect"}]
        received += [{"type": "websocket.receive", "text": text} for text in texts]
        received.append({"type": "websocket.disconnect", "code": 1000})
        answer = self(
            app, path, type="websocket", scheme="ws", subprotocols=[], received=received, **options
        )
        if answer.sent[:1] and answer.sent[0]["type"] == "websocket.accept" and answer.messages:
            answer.opening = answer.messages.pop(0)
            assert answer.told[0] == 1
        return answer

    def _collect(self, answer: AsgiAnswer) -> None:
        answer.messages += self.proxy.read()

    async def _serve(
        self,
        app: Callable[..., Any],
        scope: dict[str, Any],
        received: list[dict[str, Any]],
        answer: AsgiAnswer,
        chunks: int | None,
    ) -> None:
        waiting = list(received)

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            self._collect(answer)
            answer.told.append(len(answer.messages))
            if message["type"] in START:
                answer.status = str(message.get("status", 101))
                pairs = list(message.get("headers", ()))
                assert all(type(name) is bytes and type(value) is bytes for name, value in pairs)
                answer.headers = [(name.decode(), value.decode()) for name, value in pairs]
            elif message["type"].endswith("body"):
                answer.body += message.get("body", b"")
                if chunks is not None and len(answer.told) > chunks:
                    raise OSError("the client has gone")
            answer.sent.append(message)

        try:
            await app(scope, receive, send)
        except Exception as error:
            answer.error = error
            frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this function's
            answer.frames = [(frame.filename, frame.name) for frame in frames]
