# SPDX-License-Identifier: Apache-2.0
"""A proxy and a server as the helper sees them: a listening channel, and calls of a WSGI app."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from skystitch import agent, wire
from skystitch.channel import losses

SEGMENT = "5e9c0000000000000000000000007a11"
TRACE = "7ace0000000000000000000000000001"

_numbers = itertools.count()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def sw8(sample: str = "1") -> str:
    fields = [TRACE, SEGMENT, "0", "shop", "shop-1", "GET:/raw", "app:80"]
    encoded = [text if text == "0" else b64(text) for text in fields]
    return "-".join([sample, *encoded])


@dataclass
class Answer:
    """What the server and the proxy got from one request."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    iterable: Any = None
    error: BaseException | None = None  # as it left the app, or its body
    frames: list[tuple[str, str]] = field(default_factory=list)  # of the error's traceback
    messages: list[dict[str, Any]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, f"{name} comes twice"
        return values[0] if values else None

    @property
    def stitch(self) -> str | None:
        """The answer's sw8-stitch, its times (which must be sound) written as `*`."""
        value = self.header("sw8-stitch")
        if value is None:
            return None
        version, component, begin, duration, rest = value.split(";", 4)
        assert begin.isdecimal()
        assert duration.isdecimal()
        return f"{version};{component};*;*;{rest}"

    @property
    def message(self) -> dict[str, Any]:
        assert len(self.messages) == 1, self.messages
        return self.messages[0]


class Proxy:
    """The proxy's side of the channel."""

    def __init__(self) -> None:
        self.name = f"skystitch-test-{os.getpid()}-{next(_numbers)}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(f"\0{self.name}")
        self.listener.listen()
        self.listener.setblocking(False)
        self.connections: list[socket.socket] = []

    @property
    def channel(self) -> str:
        return f"@{self.name}"

    def accept(self) -> None:
        try:
            while True:
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                self.connections.append(connection)
        except BlockingIOError:
            pass

    def read(self) -> list[dict[str, Any]]:
        """All messages that have come."""
        self.accept()
        messages = []
        for connection in self.connections:
            try:
                while data := connection.recv(1 << 20):
                    assert len(data) <= 48 * 1024
                    messages.append(json.loads(data))
            except BlockingIOError:
                pass
        return messages

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.close()


def environ(
    path: str = "/", method: str = "GET", headers: dict[str, str] | None = None, **extra: Any
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in (headers or {}).items():
        made["HTTP_" + name.upper().replace("-", "_")] = value
    made.update(extra)
    return made


def serve(app: Callable[..., Any], request: dict[str, Any], chunks: int | None = None) -> Answer:
    """Calls the app as a WSGI server does. chunks: the client goes away after so many."""
    answer = Answer()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[..., Any]:
        assert type(headers) is list
        answer.status, answer.headers = status, list(headers)
        return lambda data: None

    try:
        answer.iterable = app(request, start_response)
        try:
            for number, chunk in enumerate(answer.iterable, 1):
                assert answer.status, "the body begins before start_response"
                answer.body += chunk
                if number == chunks:
                    break
        finally:
            if hasattr(answer.iterable, "close"):
                answer.iterable.close()
    except BaseException as error:
        answer.error = error
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this function's
        answer.frames = [(frame.filename, frame.name) for frame in frames]
    return answer


class Client:
    """Sends requests through the proxy to an app."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def traced(
        self, flags: str = "s", channel: str | None = None, mac: str = "", sample: str = "1"
    ) -> dict[str, str]:
        """The headers that the proxy adds."""
        t0 = time.time_ns() // 1000
        value = f"1;{self.proxy.channel if channel is None else channel};{t0};{flags}"
        return {"sw8": sw8(sample), "sw8-stitch": value + (f";{mac}" if mac else "")}

    def __call__(
        self,
        app: Callable[..., Any],
        path: str = "/",
        method: str = "GET",
        *,
        headers: dict[str, str] | None = None,
        chunks: int | None = None,
        traced: dict[str, str] | None = None,
        **extra: Any,
    ) -> Answer:
        sent = {**(self.traced() if traced is None else traced), **(headers or {})}
        answer = serve(app, environ(path, method, sent, **extra), chunks)
        answer.messages = self.proxy.read()
        return answer


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.fixture
def client(proxy: Proxy) -> Client:
    return Client(proxy)


@pytest.fixture
def origin() -> Iterator[Any]:
    """A service to call."""
    from calls import Origin

    made = Origin()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def run(client: Client) -> Any:
    """Runs a function as the view of a traced request; its result is kept in .result."""
    from calls import caller

    return caller(client)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The agent runs in each test, with the environment's defaults."""
    for name in list(os.environ):
        if name.startswith(("SKYSTITCH_", "SW_")):
            monkeypatch.delenv(name)
    losses.clear()
    agent.start()
    yield
    agent.stop()


@pytest.fixture
def restart(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Starts the agent anew with these environment variables."""

    def start(**variables: str) -> None:
        agent.stop()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        agent.start()

    return start


def app_span(
    operation: str, component: int, logs: list[Any] | None = None, *, error: bool = False
) -> dict[str, Any]:
    """The app's span as a message has it, its times taken out by `timeless`."""
    span: dict[str, Any] = {
        "id": 1,
        "parent": 0,
        "type": "local",
        "layer": "unknown",
        "component": component,
        "operation": operation,
    }
    if error:
        span["error"] = True
    if logs is not None:
        span["logs"] = logs
    return span


def message(
    component: int, handler: str, operation: str, spans: list[dict[str, Any]], **extra: Any
) -> dict[str, Any]:
    """A whole message as `timeless` leaves it."""
    head = {"v": 1, "segment": SEGMENT, "component": component, "seq": 0, "last": True}
    if handler:
        head["handler"] = handler
    if operation:
        head["operation"] = operation
    return {**head, "spans": spans, **extra}


def log(kind: str, text: str) -> dict[str, Any]:
    return {"data": [["event", "error"], ["error.kind", kind], ["message", text]]}


def timeless(made: dict[str, Any]) -> dict[str, Any]:
    """A message without what differs from run to run: times, which must be sound, and stacks, which
    must end with the exception's last line."""
    for span in made["spans"]:
        begin, duration = span.pop("begin"), span.pop("duration")
        assert begin >= 0
        assert duration >= 0
        for entry in span.get("logs", ()):
            assert entry.pop("at") >= begin
            data = dict(entry["data"])
            # A function in C that fails has no frames; what a group of tasks has raised comes after
            # the group's.
            if not data["stack"].startswith(data["error.kind"]):
                assert "Traceback (most recent call last):\n" in data["stack"]
            lines = data["stack"].splitlines()  # a database's message has several
            said = [line for line in lines if line[:1] not in (" ", "")]
            kinds = [line.split(":")[0].rsplit(".")[-1] for line in said]
            assert data["error.kind"].rsplit(".")[-1] in kinds[-2:]
            assert f"{os.sep}skystitch{os.sep}" not in data["stack"]
            entry["data"] = [pair for pair in entry["data"] if pair[0] != "stack"]
    return made


def written(span: dict[str, Any]) -> str:
    """A span as the helper writes it."""
    return wire.span(
        span["id"],
        span["parent"],
        span["type"],
        span.get("layer", "unknown"),
        span.get("component", 0),
        span["operation"],
        span.get("peer", ""),
        [wire.tag(*pair) for pair in span["tags"]] if "tags" in span else None,
        span.get("begin", 0),
        span.get("duration", 0),
        span.get("error", False),
        span.get("logs"),
    )
