# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as clients meet it: what the app gets of it, what is refused, limits, timers, attacks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hyperframe.frame import PingFrame, SettingsFrame, WindowUpdateFrame

from harness import Collector, Exchange, FrameClient, Gunicorn, Origin, Pair, Pki, Skystitch, Stage, free_port, until
from harness.http2 import MAX_FRAME, PREFACE, get

MIB = 1 << 20
NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL, CALM = 0, 1, 5, 7, 8, 11
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Setting:
    """A proxy that takes HTTP/2 with and without TLS."""

    def __init__(
        self, stage: Stage, upstream: str, server: Pair | None = None, config: Any = None, **options: Any
    ) -> None:
        self.port = self.tls_port = free_port()
        while self.tls_port == self.port:
            self.tls_port = free_port()
        listen: list[dict[str, Any]] = [{"address": f"127.0.0.1:{self.port}", "h2c": True}]
        if server is not None:
            listen.append({"address": f"127.0.0.1:{self.tls_port}", "tls": server.config()})
        self.proxy = Skystitch(
            stage, upstream, port=self.port, config={"listen": listen, **(config or {})}, **options
        )

    def client(self, **options: Any) -> FrameClient:
        return FrameClient(self.port, **options)

    def ended(self, reason: str) -> float:
        return self.proxy.metric("skystitch_http2_connections_ended_total", reason=reason)

    def refused(self, reason: str) -> float:
        return self.proxy.metric("skystitch_requests_refused_total", reason=reason)


@pytest.fixture(scope="module")
def pki(module_stage: Stage) -> Pki:
    return Pki(module_stage.directory)


@pytest.fixture(scope="module")
def server(pki: Pki) -> Pair:
    return pki.sign("server", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def origin(module_stage: Stage) -> Origin:
    return Origin(module_stage)


@pytest.fixture(scope="module")
def collector(module_stage: Stage) -> Collector:
    return Collector(module_stage)


@pytest.fixture(scope="module")
def setting(module_stage: Stage, origin: Origin, collector: Collector, server: Pair) -> Iterator[Setting]:
    return Setting(module_stage, origin.address, server, collector=collector)


def send_quietly(client: FrameClient, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sock.sendall(data)


def only(origin: Origin, before: int) -> Exchange:
    (exchange,) = origin.exchanges[before:]
    return exchange


# What the app gets.


def test_the_app_gets_http1(setting: Setting, origin: Origin, collector: Collector) -> None:
    before, answered = len(origin.exchanges), setting.proxy.metric("skystitch_responses_total", **{"class": "2xx"})
    requests = setting.proxy.metric("skystitch_requests_total", version="2")
    fields = get(
        "/a?b=c",
        ("user-agent", "frames"),
        ("cookie", "a=b"),
        ("accept", "*/*"),
        ("cookie", "c=d"),
        ("te", "trailers"),
        ("x_under", "dropped"),
    )
    with setting.client() as client:
        answer = client.request(1, fields)
    assert answer.status == 200
    assert answer.body == b"ok"
    assert answer.heads[0]["content-length"] == "2"
    assert "date" in answer.heads[0]
    assert "connection" not in answer.heads[0]
    exchange = only(origin, before)
    assert exchange.request_line == b"GET /a?b=c HTTP/1.1"
    assert exchange.values(b"host") == exchange.values(b"x-forwarded-host") == [b"shop.test"]
    assert exchange.values(b"cookie") == [b"a=b; c=d"]
    assert exchange.values(b"x-forwarded-proto") == [b"http"]
    assert exchange.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert len(exchange.values(b"sw8")) == 1
    assert not exchange.values(b"te")
    assert not exchange.values(b"x_under")
    assert not exchange.values(b"content-length")
    assert setting.proxy.metric("skystitch_responses_total", **{"class": "2xx"}) == answered + 1
    assert setting.proxy.metric("skystitch_requests_total", version="2") == requests + 1
    segment = collector.one(lambda segment: segment.entry.operation == "GET:/a")
    assert segment.entry.tag("http.url") == "http://shop.test/a"
    assert segment.entry.tag("http.status_code") == "200"
    assert not segment.entry.error


def test_httpx(setting: Setting, origin: Origin, pki: Pki) -> None:
    before = len(origin.exchanges)
    verify = pki.context()
    with httpx.Client(http2=True, verify=verify, trust_env=False) as client:
        answers = [client.post(f"https://localhost:{setting.tls_port}/p", content=b"x" * 100_000) for _ in range(3)]
    assert [(a.status_code, a.http_version, a.text) for a in answers] == [(200, "HTTP/2", "ok")] * 3
    assert [len(e.body) for e in origin.exchanges[before:]] == [100_000] * 3
    assert origin.exchanges[-1].values(b"x-forwarded-proto") == [b"https"]


def test_body_and_trailers(setting: Setting, origin: Origin) -> None:
    """Trailers are no fields of the head."""
    before = len(origin.exchanges)
    with setting.client() as client:
        client.send(client.head(1, get("/t", method="POST"), end=False))
        client.send(client.data(1, b"hello "), client.data(1, b"world"))
        client.send(client.head(1, [("x-trailer", "1"), ("cookie", "evil=1")]))
        assert client.answer(1).status == 200
    exchange = only(origin, before)
    assert exchange.body == b"hello world"
    assert exchange.values(b"content-length") == [b"11"]
    assert not exchange.values(b"x-trailer")
    assert not exchange.values(b"cookie")


def test_host_stands_in_for_authority(setting: Setting, origin: Origin) -> None:
    before = len(origin.exchanges)
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "old.test")]
    with setting.client() as client:
        assert client.request(1, fields).status == 200
    assert only(origin, before).values(b"host") == [b"old.test"]


def test_expect_and_interim_answers(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        client.send(client.head(1, [*get(method="POST"), ("expect", "100-continue")], end=False))
        client.until(lambda: 1 in client.answers and bool(client.answers[1].heads), "100")
        assert client.answers[1].status == 100
        client.send(client.data(1, b"body", end=True))
        answer = client.answer(1)
        assert [head[":status"] for head in answer.heads] == ["100", "103", "200"]
        assert answer.heads[1]["link"] == "</a.css>"
        assert client.request(3, [*get(method="POST"), ("expect", "more")], b"x").status == 417


def test_head_and_no_content(stage: Stage) -> None:
    setting = Setting(stage, Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").address)
    with setting.client() as client:
        answer = client.request(1, get(method="HEAD"))
        assert answer.heads[0]["content-length"] == "7"
        assert answer.body == b""
        assert answer.ended
    none = Setting(stage, Origin(stage, b"HTTP/1.1 204 No\r\n\r\n", name="no").address, name="none")
    with none.client() as client:
        answer = client.request(1, get())
        assert answer.status == 204
        assert answer.ended
        assert "content-length" not in answer.heads[0]


def test_events_are_flushed_at_once(stage: Stage) -> None:
    go = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(3):
            go.acquire()
            exchange.send(b"9\r\ndata: %d\n\n\r\n" % i)
        go.acquire()
        exchange.send(b"0\r\n\r\n")

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        client.send(client.head(1, get("/events")))
        client.until(lambda: 1 in client.answers and bool(client.answers[1].heads), "the head")
        for i in range(3):
            go.release()
            client.until(lambda i=i: client.answers[1].body.count(b"\n\n") == i + 1, f"event {i}")
        go.release()
        assert client.answer(1).ended


def test_many_streams(stage: Stage) -> None:
    """Answers come in another order than requests; each has its own body."""
    app = Gunicorn(stage, "flask_app:app", worker_class="gthread", threads=8)
    setting = Setting(stage, app.address)
    with setting.client() as client:
        streams = range(1, 200, 2)
        client.send(*[client.head(stream, get(f"/users/{stream}")) for stream in streams])
        for stream in streams:
            answer = client.answer(stream)
            assert answer.status == 200
            assert json.loads(answer.body) == {"id": stream}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_load(setting: Setting, tls: bool) -> None:
    """400 streams at a time over four connections, by a client of nghttp2."""
    url = f"https://127.0.0.1:{setting.tls_port}/" if tls else f"http://127.0.0.1:{setting.port}/"
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "100", url], capture_output=True, text=True, timeout=120
    )
    assert "2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout + done.stderr


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


# Bodies that are handed on while they come in.


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
    allowed, sent = 262144, 0
    with uploads.client() as client:
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


# What is refused.

MALFORMED = {
    "upper case": get("/", ("X-A", "1")),
    "blank in a name": get("/", ("x a", "1")),
    "connection": get("/", ("connection", "close")),
    "keep-alive": get("/", ("keep-alive", "1")),
    "proxy-connection": get("/", ("proxy-connection", "close")),
    "transfer-encoding": get("/", ("transfer-encoding", "chunked")),
    "upgrade": get("/", ("upgrade", "websocket")),
    "te": get("/", ("te", "gzip")),
    "pseudo after field": [*get()[:3], ("a", "b"), (":path", "/")],
    "unknown pseudo": get("/", (":proto", "x")),
    "method twice": [(":method", "GET"), *get()],
    "no method": get()[1:],
    "no path": get()[:3],
    "empty path": get(""),
    "path without a slash": get("a"),
    "no scheme": [get()[0], *get()[2:]],
    "response pseudo": get("/", (":status", "200")),
    "nul in a value": get("/", ("a", "b\0c")),
    "lf in a value": get("/", ("a", "b\nc: d")),
    "blank around a value": get("/", ("a", " b")),
    "two lengths": get("/", ("content-length", "0"), ("content-length", "0")),
    "blank in the path": get("/ HTTP/1.1"),
    "tab in the path": get("/\t"),
    "asterisk with GET": get("*"),
    "path in the authority": get(authority="shop.test/x"),
    "control in a value": get("/", ("a", "b\x01")),
    "odd length": get("/", ("content-length", "+0")),
}

REFUSED = {
    "fragment in the path": (400, "target", get("/#a")),
    "connect": (405, "connect", [(":method", "CONNECT"), (":authority", "shop.test:443")]),
    "host differs": (400, "host_differs", get("/", ("host", "evil.test"))),
    "user in the authority": (400, "host", get(authority="a@shop.test")),
    "long target": (414, "request_line_size", get("/" + "a" * 9000)),
    "large head": (431, "head_size", get("/", *[(f"x{i}", "a" * 8000) for i in range(9)])),
    "many fields": (431, "field_count", get("/", *[(f"x{i}", "a") for i in range(91)])),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(setting: Setting, origin: Origin, name: str) -> None:
    """RFC 9113, 8.1.1: a stream error; the connection goes on, and the app sees nothing of it."""
    before, resets = len(origin.exchanges), setting.proxy.metric("skystitch_http2_resets_total", by="proxy")
    with setting.client() as client:
        assert client.request(1, MALFORMED[name]).reset == PROTOCOL_ERROR
        assert len(origin.exchanges) == before
        assert client.request(3, get("/after")).status == 200
    assert only(origin, before).request_line == b"GET /after HTTP/1.1"
    assert setting.proxy.metric("skystitch_http2_resets_total", by="proxy") == resets + 1


@pytest.mark.parametrize("name", REFUSED)
def test_refused(setting: Setting, origin: Origin, name: str) -> None:
    status, reason, fields = REFUSED[name]
    before, refused = len(origin.exchanges), setting.refused(reason)
    with setting.client() as client:
        answer = client.request(1, fields)
        assert answer.status == status
        assert answer.ended
        assert len(origin.exchanges) == before
        assert setting.refused(reason) == refused + 1
        assert client.request(3, get("/after")).status == 200
    assert only(origin, before).request_line == b"GET /after HTTP/1.1"


@pytest.mark.parametrize("body", [b"1234", b"123456", b""])
def test_length_that_is_not_true(setting: Setting, origin: Origin, body: bytes) -> None:
    before = len(origin.exchanges)
    with setting.client() as client:
        answer = client.request(1, [*get(method="POST"), ("content-length", "5")], body)
        assert answer.reset == PROTOCOL_ERROR
        assert client.request(3, get("/after")).status == 200
    assert only(origin, before).request_line == b"GET /after HTTP/1.1"


def test_body_too_large(stage: Stage) -> None:
    """By its length before a byte of it, else as soon as it is; by the route's limit."""
    routes = [
        {"path": "/", "upstream": "app"},
        {"path": "/small/", "upstream": "app", "limits": {"body": "1KiB"}},
    ]
    origin = Origin(stage)
    setting = Setting(stage, origin.address, config={"routes": routes})
    with setting.client() as client:
        client.send(client.head(1, [*get("/small/", method="POST"), ("content-length", "1025")], end=False))
        assert client.answer(1).status == 413
        client.send(client.head(3, get("/small/", method="POST"), end=False), client.data(3, b"x" * 1025))
        assert client.answer(3).status == 413
        client.until(lambda: client.answers[3].reset is not None, "that the rest of the body is not wanted")
        assert client.answers[3].reset == NO_ERROR
        assert client.request(5, get("/small/", method="POST"), b"x" * 1024).status == 200
        assert client.request(7, get("/", method="POST"), b"x" * 1025).status == 200
    assert len(origin.exchanges) == 2
    assert setting.refused("body_size") == 2


def test_more_streams_than_allowed(stage: Stage) -> None:
    """The client was told how many."""
    arrived = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        arrived.release()
        exchange.peer_closed()

    setting = Setting(stage, Origin(stage, script).address, config={"limits": {"http2_streams": 3}})
    with setting.client() as client:
        client.ping()
        assert client.frames[0].settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 3
        client.send(*[client.head(stream, get()) for stream in (1, 3, 5)])
        assert all(arrived.acquire(timeout=20) for _ in range(3))
        client.send(client.head(7, get()))
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]
    assert setting.ended("protocol") == 1


# The end of things.


def test_client_resets_in_mid_request(stage: Stage) -> None:
    """The app's connection closes and is not used again; the span says that the client has left."""
    arrived, closed = threading.Semaphore(0), threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        if b"/slow" not in exchange.request_line:
            exchange.send(OK)
            return
        arrived.release()
        if exchange.peer_closed():
            closed.release()
        exchange.close()

    collector = Collector(stage)
    origin = Origin(stage, script)
    setting = Setting(stage, origin.address, collector=collector)
    with setting.client() as client:
        client.send(client.head(1, get("/slow")))
        assert arrived.acquire(timeout=20)
        client.send(client.reset(1))
        assert closed.acquire(timeout=20)
        assert client.request(3, get("/next")).body == b"ok"
    assert origin.exchanges[0].connection != origin.exchanges[1].connection
    assert setting.proxy.metric("skystitch_client_gone_total") == 1
    assert setting.proxy.metric("skystitch_http2_resets_total", by="client") == 1
    collector.one(lambda segment: segment.entry.operation == "GET:/slow")


def test_client_leaves(stage: Stage) -> None:
    arrived, closed = threading.Semaphore(0), threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        arrived.release()
        if exchange.peer_closed():
            closed.release()
        exchange.close()

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        client.send(*[client.head(stream, get()) for stream in (1, 3)])
        assert arrived.acquire(timeout=20)
        assert arrived.acquire(timeout=20)
    assert closed.acquire(timeout=20)
    assert closed.acquire(timeout=20)
    assert until(lambda: setting.proxy.metric("skystitch_client_gone_total") == 2, "both are counted")


def test_app_cuts_its_answer(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        exchange.close()

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        answer = client.request(1, get())
        assert answer.body == b"x" * 50
        assert not answer.ended
        assert answer.reset == 2
    assert setting.proxy.metric("skystitch_responses_cut_total", reason="upstream") == 1
    assert setting.proxy.metric("skystitch_client_gone_total") == 0


def test_stop(stage: Stage) -> None:
    """Two GOAWAY; what is under way comes to its end, what comes between them too, then the end."""
    hold = threading.Event()
    arrived = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        arrived.release()
        hold.wait(30)
        exchange.send(OK)

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as idle, setting.client() as client:
        idle.ping()
        client.send(client.head(1, get()))
        assert arrived.acquire(timeout=20)
        setting.proxy.signal(signal.SIGTERM)
        client.until(lambda: len(client.goaways) == 1, "the first GOAWAY")
        assert client.goaways[0].last_stream_id == 2**31 - 1
        client.send(client.head(3, get()))
        assert arrived.acquire(timeout=20)
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        assert client.goaways[1].last_stream_id == 3
        assert client.goaways[1].error_code == NO_ERROR
        hold.set()
        assert [client.answer(stream).body for stream in (1, 3)] == [b"ok", b"ok"]
        client.until_closed()
        idle.until_closed()
        assert len(idle.goaways) == 2
    assert setting.proxy.wait(20) == 0


def test_timers(stage: Stage) -> None:
    timeouts = {"header": "200ms", "body": "200ms", "idle": "300ms", "write": "200ms"}
    size = MIB
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    setting = Setting(stage, origin.address, config={"timeouts": timeouts})
    with setting.client() as client:  # half a head
        client.ping()
        client.send(client.block(1, b"\x82", end=True).replace(b"\x01\x05", b"\x01\x01", 1))
        client.until_closed()
    assert setting.refused("head_timeout") == 1
    with setting.client() as client:  # half a body
        client.send(client.head(1, get(method="POST"), end=False), client.data(1, b"x"))
        assert client.answer(1).status == 408
        client.send(client.head(3, get(method="POST"), end=False))
        assert client.answer(3).status == 408
    assert setting.refused("body_timeout") == 2
    with setting.client(window=1000) as client:  # no window
        client.send(client.head(1, get()))
        assert client.answer(1).reset == CANCEL
    assert setting.proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 1
    with setting.client() as client:  # nothing at all
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [NO_ERROR]


def test_client_that_reads_nothing(stage: Stage) -> None:
    """Its windows are open, its socket is full."""
    size = 32 * MIB
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    setting = Setting(stage, origin.address, config={"timeouts": {"write": "300ms"}})
    with setting.client(window=(1 << 31) - 1 - 65535) as client:
        client.send(client.head(1, get()))
        until(lambda: setting.proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 1, "the cut")
        client.until_closed()
        assert len(client.answers[1].body) < size


# Attacks.


def test_rapid_reset(setting: Setting, origin: Origin) -> None:
    """CVE-2023-44487: the connection ends early on, and no request that was reset at once is run."""
    before, ended = len(origin.exchanges), setting.ended("resets")
    memory = setting.proxy.memory_kb()
    with setting.client() as client:
        attack = b"".join(client.head(s, get()) + client.reset(s) for s in range(1, 40_001, 2))
        threading.Thread(target=send_quietly, args=(client, attack), daemon=True).start()
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [CALM]
        assert client.goaways[0].last_stream_id < 2 * 1500
    assert setting.ended("resets") == ended + 1
    assert len(origin.exchanges) - before < 600
    setting.proxy.check_growth(memory, 8 * 1024)


def test_made_you_reset(setting: Setting, origin: Origin) -> None:
    """CVE-2025-8671: the client has us reset its streams, here by windows that overflow."""
    before, ended = len(origin.exchanges), setting.ended("resets")
    with setting.client() as client:
        for first in range(1, 8001, 100):
            attack = [
                client.head(stream, get()) + WindowUpdateFrame(stream, window_increment=2**31 - 1).serialize()
                for stream in range(first, first + 100, 2)
            ]
            with contextlib.suppress(OSError):
                client.send(*attack)
            resets = list(range(first, first + 100, 2))
            while not all(stream in client.answers for stream in resets) and client.read():
                pass
            if client.closed:
                break
        assert [goaway.error_code for goaway in client.goaways] == [CALM]
    assert setting.ended("resets") == ended + 1
    assert len(origin.exchanges) - before < 600


def test_a_stream_that_goes_back(setting: Setting) -> None:
    """RFC 9113, 5.1.1; one that was open may still get frames that were on their way."""
    with setting.client() as client:
        assert client.request(5, get()).status == 200
        client.send(client.head(5, [("x-trailer", "late")]))
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [STREAM_CLOSED]
    with setting.client() as client:
        assert client.request(5, get()).status == 200
        client.send(client.head(3, get()))
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]


def test_a_few_resets_are_nothing(setting: Setting) -> None:
    with setting.client() as client:
        for stream in range(1, 401, 2):
            client.send(client.head(stream, get()), client.reset(stream))
        assert client.request(401, get()).status == 200


@pytest.mark.parametrize("trailers", [False, True], ids=["head", "trailers"])
def test_hpack_bomb(setting: Setting, origin: Origin, trailers: bool) -> None:
    """One byte each for a field of 4 KB: not decoded to its end."""
    before, ended = len(origin.exchanges), setting.ended("head_size")
    memory = setting.proxy.memory_kb()
    with setting.client() as client:
        large = ("x-bomb", "a" * 3900)
        assert client.request(1, get("/", large)).status == 200
        block = b"\xbe" * 120_000
        if trailers:
            client.send(client.head(3, get(method="POST"), end=False), client.block(3, block))
        else:
            client.send(client.block(3, client.encoder.encode(get()) + block))
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [CALM]
    assert setting.ended("head_size") == ended + 1
    assert len(origin.exchanges) == before + 1
    setting.proxy.check_growth(memory, 4 * 1024)


FLOODS = {
    "ping": PingFrame(0, b"12345678").serialize() * 20_000,
    "settings": SettingsFrame(0).serialize() * 20_000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_without_reading(stage: Stage, origin: Origin, name: str) -> None:
    """Each frame asks for an answer that is not read: memory does not grow with them."""
    setting = Setting(stage, origin.address, config={"timeouts": {"write": "500ms"}})
    memory = setting.proxy.memory_kb()
    with setting.client() as client:
        try:
            for _ in range(50):
                client.send(FLOODS[name])
        except (OSError, TimeoutError):
            pass
    setting.proxy.check_growth(memory, 4 * 1024)


def test_continuation_flood(setting: Setting) -> None:
    """CVE-2024-28182: a head without an end."""
    ended = setting.ended("flood")
    with setting.client() as client:
        part = b"\x00\x3f\x00\x09\x00" + (1).to_bytes(4, "big") + b"\x00\x01a\x7f\xbd\x7d" + b"b" * (0x3F00 - 6)
        first = client.block(1, client.encoder.encode(get())).replace(b"\x01\x05", b"\x01\x01", 1)
        threading.Thread(target=send_quietly, args=(client, first + part * 100), daemon=True).start()
        client.until_closed()
    assert setting.ended("flood") + setting.ended("head_size") + setting.ended("protocol") > ended


# Choosing it.


def test_h2c_only_where_it_is_asked_for(stage: Stage, origin: Origin) -> None:
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        client.send(PREFACE)
        assert client.response()[0].status == 505


def test_http1_beside_h2c(setting: Setting) -> None:
    """Byte by byte a PUT may be a preface for long."""
    with setting.proxy.raw() as client:
        for byte in b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n":
            client.send(bytes([byte]))
        assert client.response()[0].status == 200


def test_preface_in_pieces(setting: Setting) -> None:
    with setting.client() as client:
        client.sock.close()
        client.sock = socket.create_connection(("127.0.0.1", setting.port), timeout=20)
        for byte in PREFACE + SettingsFrame(0).serialize():
            client.sock.sendall(bytes([byte]))
        assert client.request(1, get()).status == 200


def test_http2_off(stage: Stage, origin: Origin, server: Pair, pki: Pki) -> None:
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": server.config(), "http2": False}]
    Skystitch(stage, origin.address, port=port, config={"listen": listen})
    with httpx.Client(http2=True, verify=pki.context(), trust_env=False) as client:
        assert client.get(f"https://localhost:{port}/").http_version == "HTTP/1.1"


def test_access_log(stage: Stage, origin: Origin) -> None:
    path = stage.path("access.log")
    setting = Setting(stage, origin.address, config={"log": {"access": str(path)}})
    with setting.client() as client:
        assert client.request(1, get("/logged")).status == 200
        assert client.request(3, get("/#a")).status == 400
    lines = until(lambda: path.exists() and len(found := path.read_text().splitlines()) == 2 and found, "the lines")
    assert '"GET /logged HTTP/2.0" 200 2' in lines[0]
    assert re.search(r'" 400 \d+', lines[1])


def test_frames_in_any_cut(setting: Setting, origin: Origin) -> None:
    """One byte at a time, as any other."""
    before = len(origin.exchanges)
    with setting.client() as client:
        data = client.head(1, get("/cut", method="POST"), end=False) + client.data(1, b"body", end=True)
        for byte in data:
            client.send(bytes([byte]))
        assert client.answer(1).status == 200
    assert only(origin, before).body == b"body"
