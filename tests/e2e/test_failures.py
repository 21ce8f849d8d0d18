# SPDX-License-Identifier: Apache-2.0
"""What goes wrong behind the proxy: the client gets a clean answer, the segment says what it was."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Exchange, Gunicorn, Origin, Segment, Skystitch, Stage, free_port, until

GET = b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def collector(stage: Stage) -> Iterator[Collector]:
    return Collector(stage)


def proxy_to(stage: Stage, collector: Collector, upstream: str, **timeouts: str) -> Skystitch:
    return Skystitch(stage, upstream, collector=collector, config={"timeouts": timeouts})


def check_failed(segment: Segment, status: int, failure: str) -> None:
    assert segment.entry.error
    assert segment.entry.tag("http.status_code") == str(status)
    assert segment.entry.tag("failure") == failure


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_worker_killed_in_mid_request(stage: Stage, collector: Collector, worker_class: str) -> None:
    app = Gunicorn(stage, "flask_app:app", worker_class=worker_class)
    # No connection is used twice: a GET on one that dies would be tried again on the next worker.
    proxy = proxy_to(stage, collector, app.address, upstream_idle="0ms")
    proxy.get("/")
    collector.wait(1)
    collector.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(proxy.get, "/sleep/20000")
        busy = app.worker_pids()
        until(lambda: "asleep for 20000 ms" in app.log(), "the worker is in the view")
        os.kill(busy[0], signal.SIGKILL)
        assert answer.result().status_code == 502
    check_failed(collector.one(), 502, "connection closed without an answer")
    until(lambda: app.worker_pids() not in ([], busy), "gunicorn has a new worker")
    until(lambda: proxy.get("/").status_code == 200, "the new worker serves")


def test_worker_killed_in_mid_answer(stage: Stage, collector: Collector) -> None:
    app = Gunicorn(stage, "flask_app:app")
    proxy = proxy_to(stage, collector, app.address)
    with proxy.raw() as client:
        client.send(b"GET /download/100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        assert answer.status == 200
        answer.read(65536)
        os.kill(app.worker_pids()[0], signal.SIGKILL)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    check_failed(collector.one(), 200, "answer cut short")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_nobody_listens(stage: Stage, collector: Collector, kind: str) -> None:
    upstream = {"tcp": f"127.0.0.1:{free_port()}", "unix": f"unix:{stage.path('none.sock')}"}[kind]
    proxy = proxy_to(stage, collector, upstream)
    response = proxy.get("/users/7")
    assert response.status_code == 502
    assert "application" in response.text
    assert upstream not in response.text, "the error page shows an inner address"
    check_failed(collector.one(), 502, {"tcp": "connection refused", "unix": "socket file missing"}[kind])
    reason = {"tcp": "refused", "unix": "no_socket"}[kind]
    assert proxy.metric("skystitch_failures_total", reason=reason) == 1


def test_a_dead_socket_file(stage: Stage, collector: Collector) -> None:
    path = stage.path("dead.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    proxy = proxy_to(stage, collector, f"unix:{path}")
    assert proxy.get("/").status_code == 502
    check_failed(collector.one(), 502, "connection refused")


def test_no_permission(stage: Stage, collector: Collector) -> None:
    """As root everything is permitted, so the file is made one that no connection can be made to."""
    path = stage.path("plain.sock")
    path.write_text("no socket")
    proxy = proxy_to(stage, collector, f"unix:{path}")
    assert proxy.get("/").status_code == 502
    assert collector.one().entry.error


def test_no_answer_in_time(stage: Stage, collector: Collector) -> None:
    gone = threading.Event()

    def silent(exchange: Exchange) -> None:
        assert exchange.peer_closed()
        gone.set()

    origin = Origin(stage, silent)
    proxy = proxy_to(stage, collector, origin.address, response="300ms")
    response = proxy.get("/users/7")
    assert response.status_code == 504
    assert "timeouts.response" in response.text
    check_failed(collector.one(), 504, "response timeout")
    assert gone.wait(10), "the connection to the app was left open"


def test_answer_stops_in_the_middle(stage: Stage, collector: Collector) -> None:
    def half(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        exchange.peer_closed()

    origin = Origin(stage, half)
    proxy = proxy_to(stage, collector, origin.address, response="2s")
    with proxy.raw() as client:
        client.send(GET)
        with pytest.raises(http.client.IncompleteRead):
            client.response()
    segment = collector.one()
    assert segment.entry.error
    assert segment.entry.tag("failure") == "response timeout"


def fill_backlog(path: str) -> list[socket.socket]:
    """Connects until the listener's queue is full."""
    filled = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            client.close()
            return filled
        filled.append(client)


def test_backlog_full(stage: Stage, collector: Collector) -> None:
    """A full queue is tried again until the connect timeout: 503; room in time: the request is served."""
    path = str(stage.path("full.sock"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    filled = fill_backlog(path)
    proxy = proxy_to(stage, collector, f"unix:{path}", connect="2s")
    assert proxy.get("/users/7").status_code == 503
    check_failed(collector.one(), 503, "backlog full")

    collector.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(proxy.get, "/users/8")
        until(lambda: proxy.metric("skystitch_requests_total") == 2, "the request is read")
        for client in filled:
            listener.accept()[0].close()
            client.close()
        accepted, _ = listener.accept()
        accepted.recv(65536)
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert answer.result().status_code == 200
        accepted.close()
    listener.close()
    assert not collector.one().entry.error


BAD_ANSWERS = {
    "no HTTP": b"hello\r\n\r\n",
    "bad version": b"HTTP/3.9 200 OK\r\n\r\n",
    "bad status": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "length no number": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
    "length negative": b"HTTP/1.1 200 OK\r\nContent-Length: -6\r\n\r\n",
    "length signed": b"HTTP/1.1 200 OK\r\nContent-Length: +6\r\n\r\n",
    "length overflows": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: magic\r\n\r\nabc",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300000,
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_bad_answer(stage: Stage, collector: Collector, kind: str) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(BAD_ANSWERS[kind])
        exchange.close()

    origin = Origin(stage, answer)
    proxy = proxy_to(stage, collector, origin.address)
    assert proxy.get("/users/7").status_code == 502
    check_failed(collector.one(), 502, "malformed answer")
    origin.script = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert proxy.get("/users/7").text == "ok"


CUT_ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}


@pytest.mark.parametrize("kind", CUT_ANSWERS)
@pytest.mark.parametrize("end", [Exchange.close, Exchange.reset])
def test_cut_answer(stage: Stage, collector: Collector, kind: str, end: Callable[[Exchange], Any]) -> None:
    """The client must see that it is not whole."""

    def answer(exchange: Exchange) -> None:
        exchange.send(CUT_ANSWERS[kind])
        end(exchange)

    proxy = proxy_to(stage, collector, Origin(stage, answer).address)
    with proxy.raw() as client:
        client.send(GET)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            client.response()
    assert collector.one().entry.error


@pytest.mark.parametrize("size", [b"0x3", b"3 x", b"-3", b"", b"fffffffffffffffff"])
def test_a_bad_chunk_size_cuts(stage: Stage, collector: Collector, size: bytes) -> None:
    """What came before it was passed on; a reader that stops at the first digit would take 0x3 for the end."""
    passed_on = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert passed_on.wait(10)
        exchange.send(size + b"\r\nabc\r\n0\r\n\r\n")
        exchange.peer_closed()

    proxy = proxy_to(stage, collector, Origin(stage, answer).address)
    with proxy.raw() as client:
        client.send(GET)
        part = client.head()
        assert part.read(5) == b"hello"
        passed_on.set()
        with pytest.raises(http.client.IncompleteRead):
            part.read()
    assert collector.one().entry.error


def test_space_before_the_colon_of_an_answer(stage: Stage, collector: Collector) -> None:
    """RFC 9112, 5.1: a proxy takes it out."""
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok")
    proxy = proxy_to(stage, collector, origin.address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = client.rest()
    assert b"\r\nX: a\r\n" in received


def test_a_connection_that_died_idle(stage: Stage, collector: Collector) -> None:
    """A GET on a reused connection that the app has closed meanwhile is tried again, unseen."""

    def once(exchange: Exchange) -> None:
        if exchange.connection == 1 and len(origin.exchanges) == 2:
            exchange.close()
            return
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = Origin(stage, once)
    proxy = proxy_to(stage, collector, origin.address, upstream_idle="10s")
    assert proxy.get("/1").status_code == 200
    assert proxy.get("/2").status_code == 200
    assert [exchange.connection for exchange in origin.exchanges] == [1, 1, 2]
    first, again = (exchange.values(b"sw8")[0] for exchange in origin.exchanges[1:])
    assert first.split(b"-")[2] != again.split(b"-")[2], "each attempt has a segment id of its own"
    segments = collector.wait(2)
    assert len(segments) == 2
    assert not any(segment.entry.error for segment in segments)


def test_a_post_is_not_sent_twice(stage: Stage, collector: Collector) -> None:
    def close_on_post(exchange: Exchange) -> None:
        if exchange.request_line.startswith(b"POST"):
            exchange.close()
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = Origin(stage, close_on_post)
    proxy = proxy_to(stage, collector, origin.address, upstream_idle="10s")
    assert proxy.get("/").status_code == 200
    assert proxy.request("POST", "/orders", data=b"x").status_code == 502
    assert sum(exchange.request_line.startswith(b"POST") for exchange in origin.exchanges) == 1


def test_the_client_leaves(stage: Stage, collector: Collector) -> None:
    """Seen at once while the app still works: its connection is closed, the entry says so, no error."""
    left = threading.Event()

    def wait(exchange: Exchange) -> None:
        if exchange.peer_closed():
            left.set()

    origin = Origin(stage, wait)
    proxy = proxy_to(stage, collector, origin.address)
    client = proxy.raw()
    client.send(GET)
    until(lambda: origin.exchanges, "the request is with the app")
    client.close()
    assert left.wait(10), "the app was not told"
    entry = collector.one().entry
    assert entry.tag("client_gone") == "true"
    assert not entry.error
    assert proxy.metric("skystitch_client_gone_total") == 1


def test_no_descriptor_left(stage: Stage, collector: Collector) -> None:
    """Connections wait, quietly, until there is room again."""
    app = Gunicorn(stage, "flask_app:app")
    proxy = proxy_to(stage, collector, app.address)
    proxy.get("/")
    assert proxy.metric("skystitch_accept_failures_total") == 0
    limits = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (used + 5, limits[1]))
    clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(40)]
    until(lambda: proxy.metric("skystitch_accept_failures_total") >= 3, "the proxy is out of descriptors")
    assert proxy.metric("skystitch_accept_failures_total") < 1000, "tried again without a pause"
    assert "LimitNOFILE" in proxy.log()
    for client in clients:
        client.close()
    until(lambda: proxy.metric("skystitch_connections_total") == 41, "those that waited are accepted")
    until(lambda: proxy.metric("skystitch_connections") <= 1, "and gone")
    with proxy.raw() as client:
        client.send(GET)
        assert client.response()[0].status == 200
