# SPDX-License-Identifier: Apache-2.0
"""Bodies over HTTP/2: windows hold both sides back, and streamed ones reach the app while they come in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from typing import Any

from hyperframe.frame import WindowUpdateFrame

from harness import Exchange, Gunicorn, Origin, Stage, until
from harness.http2 import MAX_FRAME, get
from http2_setting import (
    MIB,
    OK,
    Setting,
)


def test_flow_control_holds_an_answer_back(stage: Stage) -> None:
    """No byte above the client's windows, and memory does not grow with what waits."""
    size = 8 * MIB
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    setting = Setting(stage, origin.address)
    before = setting.proxy.memory_kb()
    with setting.client(window=65535) as client:
        client.send(client.head(1, get()))
        client.until(lambda: 1 in client.answers and len(client.answers[1].body) == 65535, "the window's worth")
        client.ping()
        assert len(client.answers[1].body) == 65535
        setting.proxy.check_growth(before, 2048)
        while len(client.answers[1].body) < size:
            more = WindowUpdateFrame(0, window_increment=65535), WindowUpdateFrame(1, window_increment=65535)
            have = len(client.answers[1].body)
            client.send(*more)
            wanted = min(have + 65535, size)
            client.until(lambda wanted=wanted: len(client.answers[1].body) == wanted, "more")
        assert client.answer(1).ended


def test_upload_needs_no_memory(stage: Stage) -> None:
    app = Gunicorn(stage, "flask_app:app")
    setting = Setting(stage, app.address)
    before = setting.proxy.memory_kb()
    path = stage.path("upload")
    with path.open("wb") as file:
        for _ in range(32):
            file.write(os.urandom(MIB))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    url = f"http://127.0.0.1:{setting.port}/upload"
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--http2-prior-knowledge", "-T", path, "-X", "POST", url],
        capture_output=True,
        timeout=120,
    )
    assert digest.encode() in done.stdout, (done.stdout[:500], done.stderr)
    setting.proxy.check_growth(before, 8 * 1024)


class Uploads(Setting):
    """The app leaves what it gets to the test."""

    def __init__(self, stage: Stage, **config: Any) -> None:
        self.release = threading.Event()
        self.origin = Origin(stage, lambda _: self.release.wait(60) and None, bodies=False)
        routes = [{"path": "/", "upstream": "app", "request_buffering": "off"}]
        super().__init__(stage, self.origin.address, config={"routes": routes, **config})

    def exchange(self) -> Exchange:
        return until(lambda: self.origin.exchanges, "the app has the request")[0]


def take(exchange: Exchange, size: int) -> None:
    while len(exchange.body) < size:
        more = exchange.receive()
        assert more, f"ended after {len(exchange.body)} bytes"
        exchange.body += more


def test_streamed_body(stage: Stage) -> None:
    uploads = Uploads(stage)
    with uploads.client() as client:
        client.send(client.head(1, [*get(method="POST"), ("content-length", "10")], end=False))
        exchange = uploads.exchange()
        assert exchange.values(b"content-length") == [b"10"]
        assert exchange.body == b""
        client.send(client.data(1, b"hello"))
        take(exchange, 5)
        client.send(client.data(1, b"world", end=True))
        take(exchange, 10)
        assert exchange.body == b"helloworld"
        exchange.send(OK)
        assert client.answer(1).status == 200
    uploads.release.set()


def test_streamed_body_without_a_length(stage: Stage) -> None:
    uploads = Uploads(stage)
    with uploads.client() as client:
        client.send(client.head(1, get(method="POST"), end=False), client.data(1, b"hello"))
        exchange = uploads.exchange()
        assert exchange.values(b"transfer-encoding") == [b"chunked"]
        take(exchange, 10)
        client.send(client.head(1, [("x-trailer", "1")]))
        take(exchange, 15)
        assert exchange.body == b"5\r\nhello\r\n0\r\n\r\n"
        exchange.send(OK)
        assert client.answer(1).status == 200
    uploads.release.set()


def test_streamed_body_waits_for_the_app(stage: Stage) -> None:
    """The client may send no more than windows and buffers on the way hold, until the app reads."""
    uploads, size = Uploads(stage), 4 * MIB
    sent = 0
    with uploads.client() as client:
        client.ping()  # until the client has answered SETTINGS, a stream's window is 65,535 (RFC 9113, 6.5.3)
        allowed = 262144
        client.send(client.head(1, [*get(method="POST"), ("content-length", str(size))], end=False))
        exchange = uploads.exchange()

        def send_what_may_be() -> None:
            nonlocal allowed, sent
            while True:
                part = min(allowed - sent, MAX_FRAME, size - sent)
                if part == 0:
                    break
                client.send(client.data(1, b"x" * part, end=sent + part == size))
                sent += part
            seen = len(client.frames)
            client.ping()
            allowed += sum(
                frame.window_increment
                for frame in client.frames[seen:]
                if isinstance(frame, WindowUpdateFrame) and frame.stream_id == 1
            )

        while True:
            before = sent
            send_what_may_be()
            if sent == before and allowed == sent:
                break
        assert sent < 2 * MIB
        reader = threading.Thread(target=take, args=(exchange, size), daemon=True)
        reader.start()
        while sent < size:
            send_what_may_be()
        reader.join(30)
        assert exchange.body == b"x" * size
        exchange.send(OK)
        assert client.answer(1).status == 200
    uploads.release.set()


def test_streamed_body_breaks_off(stage: Stage) -> None:
    """The app sees its connection end in mid-request."""
    uploads = Uploads(stage)
    with uploads.client() as client:
        client.send(client.head(1, [*get(method="POST"), ("content-length", "10")], end=False))
        client.send(client.data(1, b"hello"))
        exchange = uploads.exchange()
        take(exchange, 5)
        client.send(client.reset(1))
        assert exchange.receive() == b""
        client.ping()
    uploads.release.set()


def test_streamed_body_too_large_or_too_slow(stage: Stage) -> None:
    uploads = Uploads(stage, limits={"body": "1KiB"}, timeouts={"body": "200ms"})
    with uploads.client() as client:
        client.send(client.head(1, get(method="POST"), end=False), client.data(1, b"x" * 1025))
        assert client.answer(1).status == 413
        client.send(client.head(3, get(method="POST"), end=False), client.data(3, b"x"))
        assert client.answer(3).status == 408
        client.send(client.head(5, [*get(method="POST"), ("content-length", "1025")], end=False))
        assert client.answer(5).status == 413
    assert uploads.refused("body_size") == 2
    assert uploads.refused("body_timeout") == 1
    uploads.release.set()


def test_streamed_body_breaks_off_in_the_queue(stage: Stage) -> None:
    """Neither a place that comes nor queue.timeout ends a request again whose page waits for the client."""
    origin = Origin(stage, lambda _: threading.Event().wait(60) and None)
    server = {"address": origin.address, "max_connections": 1}
    setting = Setting(
        stage,
        "127.0.0.1:9",
        config={
            "upstreams": {"app": {"servers": [server], "queue": {"timeout": "3s"}}},
            "routes": [{"path": "/", "upstream": "app", "request_buffering": "off"}],
            "limits": {"body": "1KiB"},
        },
    )
    with setting.proxy.raw() as first, setting.client(window=0) as client:
        first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the app is busy")
        client.send(client.head(1, get(method="POST"), end=False), client.head(3, get()))
        until(lambda: setting.proxy.metric("skystitch_upstream_queue") == 2, "both wait")
        client.send(client.data(1, b"x" * 1025))
        client.until(lambda: 1 in client.answers and client.answers[1].heads, "the head of the page")
        client.until(lambda: 3 in client.answers and client.answers[3].heads, "queue.timeout of the next request")
        assert [client.answers[stream].status for stream in (1, 3)] == [413, 503]
        client.send(WindowUpdateFrame(1, window_increment=65535))
        assert client.answer(1).body
    assert setting.proxy.metric("skystitch_failures_total", reason="queue_timeout") == 1
