# SPDX-License-Identifier: Apache-2.0
"""WebSocket and other upgrades through the proxy: a public client before uvicorn and Flask-Sock."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from contextlib import closing

import pytest
from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    create_connection,
)

from harness import Collector, Exchange, Gunicorn, Origin, Pki, Skystitch, Stage, Uvicorn, free_port, until

ASK = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n%s\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n%s\r\n"
CLOSE_CODE = 4001
LOST = (WebSocketConnectionClosedException, ConnectionResetError)


class App:
    """An app server, its proxy, and what the proxy reports."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.collector = Collector(stage)
        if kind == "flask":
            self.server: Gunicorn | Uvicorn = Gunicorn(stage, "socket_flask:app", worker_class="gthread", threads=8)
        else:
            self.server = Uvicorn(stage, "socket_asgi:app", implementation=kind)
        self.proxy = Skystitch(
            stage, self.server.address, collector=self.collector, config={"timeouts": {"stop": "2s"}}
        )

    def connect(self, path: str = "/echo") -> WebSocket:
        return connect(self.proxy, path)


def connect(proxy: Skystitch, path: str = "/echo") -> WebSocket:
    return create_connection(f"ws://127.0.0.1:{proxy.port}{path}", timeout=20, http_no_proxy=["127.0.0.1"])


def none_open(proxy: Skystitch) -> None:
    until(lambda: proxy.metric("skystitch_tunnels") == 0, "no tunnel is open")


@pytest.fixture(scope="module", params=["websockets", "wsproto", "flask"])
def app(request: pytest.FixtureRequest, module_stage: Stage) -> App:
    directory = module_stage.path(request.param)
    directory.mkdir()
    stage = Stage(directory)
    module_stage.add(Ended(stage, request.param))
    return App(stage, request.param)


class Ended:
    """A stage within a stage."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name

    def close(self) -> None:
        self.stage.close()

    def log(self) -> str:
        return "\n".join(text for _, text in self.stage.logs())


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    if "app" in request.fixturenames:
        app = request.getfixturevalue("app")
        none_open(app.proxy)
        until(lambda: app.proxy.metric("skystitch_stitch_bytes") == 0, "none waits for its helper")
        made = app.proxy.metric("skystitch_segments_made_total")
        until(lambda: app.proxy.metric("skystitch_segments_confirmed_total") == made, "all is reported")
        app.collector.clear()


def test_ten_thousand_frames(app: App) -> None:
    with closing(app.connect()) as ws:
        assert app.proxy.metric("skystitch_tunnels") == 1
        sent = 0
        for start in range(0, 10_000, 50):
            for number in range(start, start + 50):
                sent += ws.send(f"frame {number}")
            for number in range(start, start + 50):
                assert ws.recv() == f"frame {number}"
        ws.send_close(1000)
        sent += 2 + 4 + 2  # head, mask, code
        try:
            assert ws.recv_frame().opcode == ABNF.OPCODE_CLOSE
        except LOST:
            # simple-websocket wakes the view before it answers a close: gunicorn may close the socket in between
            assert isinstance(app.server, Gunicorn)
        ws.shutdown()
    segment = app.collector.one()
    entry = segment.entry
    none_open(app.proxy)
    assert not any(span.error or span.logs for span in segment.spans)
    assert entry.operation == "GET:/echo"
    assert entry.tag("http.status_code") == "101"
    assert entry.tag("failure") is None
    assert entry.tag("client_gone") is None
    assert not entry.error
    assert int(entry.tag("tunnel.bytes_in")) == sent
    assert 10_000 * 8 < int(entry.tag("tunnel.bytes_out")) < sent, "frames of servers have no mask"


def test_one_large_frame(app: App) -> None:
    payload = os.urandom(1 << 20)
    with closing(app.connect()) as ws:
        ws.send_binary(payload)
        assert ws.recv() == payload


def test_ping(app: App) -> None:
    with closing(app.connect()) as ws:
        ws.ping("are you there")
        frame = ws.recv_frame()
        assert (frame.opcode, frame.data) == (ABNF.OPCODE_PONG, b"are you there")


def test_closed_by_the_app(app: App) -> None:
    with closing(app.connect("/close")) as ws:
        ws.send("x")
        frame = ws.recv_frame()
        assert frame.opcode == ABNF.OPCODE_CLOSE
        assert frame.data == CLOSE_CODE.to_bytes(2, "big") + b"enough"
    assert not app.collector.one().entry.error


def test_client_killed(app: App) -> None:
    ws = app.connect()
    ws.send("x")
    assert ws.recv() == "x"
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ws.shutdown()
    assert not app.collector.one().entry.error
    none_open(app.proxy)
    with closing(app.connect()) as again:
        again.send("y")
        assert again.recv() == "y"


def test_refused(app: App) -> None:
    with pytest.raises(WebSocketBadStatusException) as refusal:
        app.connect("/refuse")
    assert refusal.value.status_code == 403
    entry = app.collector.one().entry
    assert entry.tag("http.status_code") == "403"
    assert entry.tag("tunnel.bytes_in") is None


def test_after_plain_requests_on_one_connection(app: App) -> None:
    """Both on the client's connection, and on the app's out of the pool."""
    with app.proxy.raw() as client:
        for _ in range(2):
            client.send(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response()[0].status == 200
        client.send(
            b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = client.head()
        assert head.status == 101
        assert head.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_app_killed(stage: Stage) -> None:
    app = App(stage, "websockets")
    with closing(app.connect()) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        app.server.kill()
        with pytest.raises(LOST):
            ws.recv()
    assert not app.collector.one().entry.error
    none_open(app.proxy)
    assert app.proxy.metric("skystitch_tunnels_closed_total", by="app") == 1


def test_what_the_helper_says_after_the_end(stage: Stage) -> None:
    """The app's part comes when the tunnel has been closed: it was announced before it was opened."""
    app = App(stage, "flask")
    ws = app.connect("/late")
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ws.shutdown()
    segment = app.collector.one()
    assert (segment.entry.operation, segment.entry.component) == ("GET:/late", 7001)
    assert segment.entry.tag("http.status_code") == "101"
    view = segment.span(1)
    assert (view.operation, view.error, view.logs) == ("socket_flask.late", False, ())
    assert app.proxy.metric("skystitch_stitch_messages_total", result="late") == 0


def test_silence_ends_it(stage: Stage) -> None:
    collector = Collector(stage)
    server = Uvicorn(stage, "socket_asgi:app")
    proxy = Skystitch(
        stage, server.address, collector=collector, config={"timeouts": {"tunnel_idle": "3s", "response": "2s"}}
    )
    with closing(connect(proxy)) as ws:
        for _ in range(20):
            ws.send("x")
            assert ws.recv() == "x"
        with pytest.raises(LOST):
            ws.recv()
    entry = collector.one().entry
    assert entry.tag("failure") == "tunnel idle"
    assert not entry.error
    assert proxy.metric("skystitch_tunnels_closed_total", by="idle") == 1


def test_stop_with_an_open_tunnel(stage: Stage) -> None:
    collector = Collector(stage)
    server = Uvicorn(stage, "socket_asgi:app")
    proxy = Skystitch(stage, server.address, collector=collector, config={"timeouts": {"stop": "2s"}})
    with closing(connect(proxy)) as ws:
        proxy.signal(signal.SIGTERM)
        ws.send("x")
        assert ws.recv() == "x"
        with pytest.raises(LOST):
            ws.recv()
    assert proxy.wait() == 0
    entry = collector.one().entry
    assert entry.tag("failure") == "proxy stopped"
    assert not entry.error


def serve(answer: bytes, seen: list[bytes], go: threading.Event):
    """An app that answers an upgrade, then echoes what comes until the end, then says bye."""

    def handler(exchange: Exchange) -> None:
        seen.append(exchange.head)
        exchange.send(answer)
        while data := exchange.receive():
            exchange.send(data)
        exchange.send(b"bye")
        go.set()

    return handler


def test_early_bytes_and_half_close(stage: Stage) -> None:
    seen: list[bytes] = []
    go = threading.Event()
    answer = SWITCHED % b"X-App: 1\r\nsw8-stitch: 1 x\r\nConnection: X-Hop\r\nX-Hop: 1\r\n" + b"early"
    proxy = Skystitch(stage, Origin(stage, serve(answer, seen, go)).address, collector=Collector(stage))
    with proxy.raw() as client:
        client.send(ASK % b"X-Hop: kept\r\n" + b"first")
        head = client.head()
        assert head.status == 101
        assert dict(head.headers) == {"X-App": "1", "Connection": "Upgrade", "Upgrade": "echo"}
        client.send(b", second")
        client.half_close()
        assert client.rest() == b"earlyfirst, secondbye"
    assert go.wait(10)
    assert b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n" in seen[0]
    assert b"\r\nX-Hop: kept\r\n" in seen[0]


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
        b"Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
        b"Connection: Upgrade\r\nUpgrade: a b\r\n",
        b"Connection: keep-alive\r\nUpgrade: echo\r\n",
        b"Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 1\r\n",
        b"Connection: Upgrade\r\nUpgrade: echo\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_not_passed_on(stage: Stage, fields: bytes) -> None:
    """And the app that switches all the same is not believed."""
    seen: list[bytes] = []
    body = b"x" if b"Length" in fields else b"1\r\nx\r\n0\r\n\r\n" if b"chunked" in fields else b""

    def switch(exchange: Exchange) -> None:
        seen.append(exchange.head)
        exchange.send(SWITCHED % b"")

    proxy = Skystitch(stage, Origin(stage, switch).address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body)
        assert client.response()[0].status == 502
    assert b"upgrade" not in seen[0].lower()


def test_another_protocol_than_asked_for(stage: Stage) -> None:
    origin = Origin(stage, lambda exchange: exchange.send((SWITCHED % b"").replace(b"echo", b"other")))
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        client.send(ASK % b"")
        assert client.response()[0].status == 502
    assert proxy.metric("skystitch_failures_total", reason="switched") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def test_by_tls(stage: Stage, version: ssl.TLSVersion) -> None:
    pki = Pki(stage.directory)
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": pki.sign("server", "DNS:localhost").config()}]
    server = Uvicorn(stage, "socket_asgi:app")
    collector = Collector(stage)
    proxy = Skystitch(stage, server.address, port=port, collector=collector, config={"listen": listen})
    sock = pki.context(version).wrap_socket(
        socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost"
    )
    payload = os.urandom(1 << 20)
    with closing(create_connection(f"wss://localhost:{port}/echo", socket=sock, timeout=20)) as ws:
        for _ in range(3):
            ws.send_binary(payload)
            assert ws.recv() == payload
        for number in range(2000):
            ws.send(str(number))
        for number in range(2000):
            assert ws.recv() == str(number)
    none_open(proxy)
    entry = collector.one().entry
    assert entry.tag("http.status_code") == "101"
    assert not entry.error


def test_a_client_that_does_not_take_stops_its_app(stage: Stage) -> None:
    """Neither side's bytes pile up in the proxy."""
    sent = [0]
    done = threading.Event()

    def flood(exchange: Exchange) -> None:
        exchange.send(SWITCHED % b"")
        block = bytes(65536)
        while sent[0] < 1 << 26:
            exchange.send(block)
            sent[0] += len(block)
        exchange.close()
        done.set()

    proxy = Skystitch(stage, Origin(stage, flood).address)
    with proxy.raw(receive_buffer=65536) as client:
        before = proxy.memory_kb()
        client.send(ASK % b"")
        assert client.head().status == 101
        until(lambda: sent[0] > 1 << 17, "the app sends")
        proxy.check_growth(before, 1024)
        assert len(client.rest()) == 1 << 26
    assert done.wait(10)
