# SPDX-License-Identifier: Apache-2.0
"""A service to call, and a traced request that calls it: for the tests of outgoing calls."""

from __future__ import annotations

import json
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

flask = pytest.importorskip("flask")

from conftest import Client, app_span, b64, message, sw8  # noqa: E402


class Origin:
    """A service that tells in JSON what it received. /to?x redirects to x, /code/404 answers so."""

    def __init__(self) -> None:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                origin.seen.append((self.path, self.headers))
                code = int(path[6:]) if path.startswith("/code/") else 200
                self.send_response(302 if path == "/to" else code)
                if path == "/to":
                    self.send_header("Location", query)
                body = json.dumps(dict(self.headers.items())).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.seen: list[tuple[str, Message]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.peer = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.peer}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def sw8s(self) -> list[str | None]:
        names = [
            {name.lower(): value for name, value in headers.items()} for _, headers in self.seen
        ]
        return [headers.get("sw8") for headers in names]


def caller(client: Client) -> Any:
    """What runs a function as the view of a traced request; its result is kept in .result."""

    def run(function: Any, **kwargs: Any) -> Any:
        app = flask.Flask("shop")
        app.logger.disabled = True

        @app.route("/call/<int:n>")
        def call(n: int) -> str:
            answer_result.append(function())
            return "called"

        answer_result: list[Any] = []
        answer = client(app, "/call/1", **kwargs)
        answer.result = answer_result[0] if answer_result else None
        return answer

    return run


HANDLER = f"{__name__}.caller.<locals>.run.<locals>.call"
OPERATION = "GET:/call/<int:n>"


def exit_span(origin: Any, path: str, component: int, status: str, **extra: Any) -> dict[str, Any]:
    tags = [["http.method", extra.pop("method", "GET")], ["http.url", f"{origin.url}{path}"]]
    if status:
        tags.append(["http.status_code", status])
    return {
        "id": 2,
        "parent": 1,
        "type": "exit",
        "layer": "http",
        "component": component,
        "operation": path or "/",
        "peer": origin.peer,
        "tags": tags,
        **extra,
    }


def expected(*spans: dict[str, Any]) -> dict[str, Any]:
    return message(7001, HANDLER, OPERATION, [app_span(HANDLER, 7001), *spans])


def exit_header(origin: Any, span: int, sample: str = "1", operation: str = OPERATION) -> str:
    fields = sw8(sample).split("-")
    fields[3], fields[6], fields[7] = str(span), b64(operation), b64(origin.peer)
    return "-".join(fields)
