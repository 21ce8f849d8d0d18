# SPDX-License-Identifier: Apache-2.0
"""Several servers of one upstream: shares, backups, places and the queue, failures that another one mends."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Exchange, Gunicorn, Origin, Skystitch, Stage, until


def named(stage: Stage, name: str) -> Origin:
    """An origin whose answers are its name."""
    body = name.encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    return Origin(stage, lambda exchange: exchange.send(answer), name=name)


def proxy_to(stage: Stage, servers: list[Any], collector: Collector | None = None, **config: Any) -> Skystitch:
    upstream = {"servers": servers, **config.pop("upstream", {})}
    return Skystitch(stage, [], collector=collector, config={"upstreams": {"app": upstream}, **config})


def server(origin: Origin, **members: Any) -> dict[str, Any]:
    return {"address": origin.address, **members}


def test_shares_follow_weights(stage: Stage) -> None:
    a, b, c = (named(stage, name) for name in "abc")
    proxy = proxy_to(stage, [server(a, weight=3), server(b, weight=2), c.address])
    assert Counter(proxy.get("/").text for _ in range(24)) == {"a": 12, "b": 8, "c": 4}


def test_least_connections_avoid_the_busy(stage: Stage) -> None:
    release = threading.Event()

    def stuck(exchange: Exchange) -> None:
        release.wait(20)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    slow, fast = Origin(stage, stuck, name="slow"), named(stage, "fast")
    proxy = proxy_to(stage, [slow.address, fast.address], upstream={"balance": "least_conn"})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(proxy.get, "/")
        until(lambda: slow.exchanges, "the slow server has a request")
        assert proxy.metric("skystitch_upstream_server_active", server=slow.address) == 1
        assert {proxy.get("/").text for _ in range(10)} == {"fast"}
        release.set()
        assert waiting.result().text == "slow"


def test_backup_takes_over_and_gives_back(stage: Stage) -> None:
    a, b, spare = (named(stage, name) for name in ("a", "b", "spare"))
    upstream = {"max_fails": 1, "fail_timeout": "200ms"}
    servers = [a.address, b.address, server(spare, backup=True)]
    proxy = proxy_to(stage, servers, upstream=upstream, timeouts={"upstream_idle": "0ms"})
    assert Counter(proxy.get("/").text for _ in range(6)) == {"a": 3, "b": 3}
    a.close()
    assert {proxy.get("/").text for _ in range(6)} == {"b"}
    b.close()
    assert {proxy.get("/").text for _ in range(6)} == {"spare"}
    assert proxy.metric("skystitch_failures_total") == 0
    Path(a.address.removeprefix("unix:")).unlink()
    named(stage, "a")
    until(lambda: proxy.get("/").text == "a", "the primary has its requests again")
    spare_before = len(spare.exchanges)
    assert {proxy.get("/").text for _ in range(6)} <= {"a", "spare"}
    assert len(spare.exchanges) - spare_before < 6


@pytest.mark.parametrize(("method", "answered"), [("GET", True), ("PUT", True), ("POST", False)])
def test_a_server_that_closes_is_left_for_another(stage: Stage, method: str, answered: bool) -> None:
    broken, sound = Origin(stage, lambda exchange: exchange.close(), name="broken"), named(stage, "sound")
    proxy = proxy_to(stage, [broken.address, sound.address])
    response = proxy.request(method, "/", data=b"body" if method != "GET" else None)
    assert (response.status_code, response.text if answered else "") == ((200, "sound") if answered else (502, ""))
    assert len(broken.exchanges) == 1
    assert proxy.metric("skystitch_upstream_moves_total") == answered


def test_a_deadly_request_kills_two_servers_at_most(stage: Stage) -> None:
    origins = [Origin(stage, lambda exchange: exchange.close(), name=f"o{i}") for i in range(4)]
    proxy = proxy_to(stage, [origin.address for origin in origins])
    assert proxy.get("/").status_code == 502
    assert sum(len(origin.exchanges) for origin in origins) == 2


class Gate:
    """A script that counts who is inside and lets them out one by one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.out = threading.Semaphore(0)
        self.inside = self.most = 0

    def __call__(self, exchange: Exchange) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.out.acquire(timeout=20)
        with self.lock:
            self.inside -= 1
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_queue(stage: Stage) -> None:
    gate, collector = Gate(), Collector(stage)
    origin = Origin(stage, gate)
    proxy = proxy_to(
        stage,
        [server(origin, max_connections=2)],
        collector,
        upstream={"queue": {"max": 3}},
        workers=2,
    )
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(proxy.get, "/") for _ in range(5)]
        until(lambda: proxy.metric("skystitch_upstream_queue", upstream="app") == 3, "three requests wait")
        until(lambda: gate.inside == 2, "the others have a place")
        refused = proxy.get("/refused")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert "queue.max" in refused.text
        for _ in range(5):
            gate.out.release()
        assert [answer.result().status_code for answer in answers] == [200] * 5
    assert gate.most == 2
    assert proxy.metric("skystitch_failures_total", reason="queue_full") == 1
    assert proxy.metric("skystitch_upstream_queued_total") == 3
    assert proxy.metric("skystitch_upstream_queue") == 0
    segments = collector.wait(6)
    waited = [segment for segment in segments if segment.entry.tag("queue_ms")]
    assert len(waited) == 3
    assert all(int(segment.entry.tag("queue_ms") or 0) >= 0 for segment in waited)


def test_queue_timeout(stage: Stage) -> None:
    gate, collector = Gate(), Collector(stage)
    servers = [server(Origin(stage, gate), max_connections=1)]
    proxy = proxy_to(stage, servers, collector, upstream={"queue": {"timeout": "300ms"}})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(proxy.get, "/")
        until(lambda: gate.inside == 1, "the server is busy")
        late = proxy.get("/late")
        assert late.status_code == 503
        assert late.headers["Retry-After"]
        gate.out.release()
        assert running.result().status_code == 200
    assert proxy.metric("skystitch_failures_total", reason="queue_timeout") == 1
    failures = {segment.entry.tag("failure") for segment in collector.wait(2)}
    assert "queue timeout" in failures
    gate.out.release()
    assert proxy.get("/").status_code == 200


def test_a_client_that_leaves_the_queue(stage: Stage) -> None:
    gate = Gate()
    servers = [server(Origin(stage, gate), max_connections=1)]
    proxy = proxy_to(stage, servers, upstream={"queue": {"timeout": "1m"}})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(proxy.get, "/")
        until(lambda: gate.inside == 1, "the server is busy")
        with proxy.raw() as client:
            client.send(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: proxy.metric("skystitch_upstream_queue") == 1, "the request waits")
        until(lambda: proxy.metric("skystitch_upstream_queue") == 0, "it has left the queue with its client")
        gate.out.release()
        assert running.result().status_code == 200
    assert proxy.metric("skystitch_failures_total") == 0
    gate.out.release()
    assert proxy.get("/").status_code == 200


def test_sync_workers_get_no_more_than_they_can_take(stage: Stage) -> None:
    """With a place for each sync worker nothing waits in gunicorn's backlog."""
    app = Gunicorn(stage, "flask_app:app", worker_class="sync", workers=2)
    proxy = proxy_to(stage, [{"address": app.address, "max_connections": 2}], workers=2)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: proxy.get("/sleep/30"), range(48)))
    assert {answer.status_code for answer in answers} == {200}
    assert proxy.metric("skystitch_upstream_queued_total") > 0
    assert proxy.metric("skystitch_failures_total") == 0


class Patient:
    """An origin that answers its health check as the test says, and everything else with its name."""

    def __init__(self, stage: Stage, name: str, *, tcp: bool = False) -> None:
        self.name = name.encode()
        self.health = b"204 No Content"
        self.asked: list[Exchange] = []
        self.origin = Origin(stage, self.answer, name=name, tcp=tcp)

    def answer(self, exchange: Exchange) -> None:
        if exchange.request_line.startswith(b"GET /healthz "):
            self.asked.append(exchange)
            if not self.health:
                exchange.peer_closed(20)
                return
            exchange.send(b"HTTP/1.1 %s\r\n\r\n" % self.health)
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.name), self.name))


# Who is well may be slow on a busy machine, so the limit is more than any of these tests waits for.
CHECK = {"path": "/healthz", "interval": "100ms", "timeout": "2s", "rise": 2, "fall": 2}


def up(proxy: Skystitch, origin: Origin) -> bool:
    return proxy.metric("skystitch_upstream_server_up", server=origin.address) == 1


@pytest.mark.parametrize("ill", [b"503 Service Unavailable", b"404 Not Found", b""], ids=["503", "404", "silent"])
def test_health_checks_take_a_server_out_and_back(stage: Stage, ill: bytes) -> None:
    a, b, collector = Patient(stage, "a"), Patient(stage, "b"), Collector(stage)
    proxy = proxy_to(
        stage,
        [a.origin.address, b.origin.address],
        collector,
        upstream={"health_check": CHECK, "max_fails": 0},
        workers=2,
    )
    until(lambda: a.asked and b.asked, "both were asked")
    assert {proxy.get("/").text for _ in range(8)} == {"a", "b"}
    a.health = ill
    until(lambda: not up(proxy, a.origin), "the checks have found it")
    assert {proxy.get("/").text for _ in range(12)} == {"b"}
    a.health = b"204 No Content"
    until(lambda: up(proxy, a.origin), "the checks have found it well")
    assert {proxy.get("/").text for _ in range(12)} == {"a", "b"}
    asked = a.asked[0]
    assert asked.values(b"user-agent")[0].startswith(b"skystitch-health/")
    assert asked.values(b"host") == [b"localhost"]
    assert not asked.values(b"sw8")
    assert proxy.metric("skystitch_health_checks_total", result="failed") >= 2
    assert proxy.metric("skystitch_requests_total") == 32
    assert all(str(segment.entry.tag("http.url")).endswith("/") for segment in collector.wait(32))
    assert "a.sock fails its health check" in proxy.log()
    assert "a.sock passes its health check" in proxy.log()


def test_the_first_check_counts_at_once_and_the_last_server_is_tried(stage: Stage) -> None:
    a, b = Patient(stage, "a", tcp=True), Patient(stage, "b", tcp=True)
    a.health = b.health = b"500 No"
    check = {**CHECK, "fall": 1000, "host": "shop.example:1"}
    proxy = proxy_to(stage, [a.origin.address, b.origin.address], upstream={"health_check": check})
    until(lambda: not up(proxy, a.origin) and not up(proxy, b.origin), "both are out")
    assert a.asked[0].values(b"host") == [b"shop.example:1"]
    assert {proxy.get("/").text for _ in range(4)} == {"a", "b"}
    b.health = b"200 OK"
    until(lambda: up(proxy, b.origin), "one is back")
    assert {proxy.get("/").text for _ in range(4)} == {"b"}


def test_a_health_check_of_a_server_that_is_gone(stage: Stage) -> None:
    app = Gunicorn(stage, "flask_app:app")
    spare = named(stage, "spare")
    upstream = {"health_check": {**CHECK, "path": "/ready"}}
    proxy = proxy_to(stage, [app.address, server(spare, backup=True)], upstream=upstream)
    until(lambda: proxy.metric("skystitch_health_checks_total", result="passed") > 0, "it was asked")
    assert proxy.get("/").text != "spare"
    app.kill()
    until(lambda: proxy.metric("skystitch_upstream_server_up", server=app.address) == 0, "it is found gone")
    failures = proxy.metric("skystitch_failures_total")
    assert {proxy.get("/").text for _ in range(4)} == {"spare"}
    assert proxy.metric("skystitch_failures_total") == failures


class Introduced:
    """An origin that reads a PROXY header off each connection, then one request."""

    def __init__(self, stage: Stage) -> None:
        self.name = "introduced"
        self.headers: list[bytes] = []
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        stage.add(self)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, sock.makefile("rb") as stream:
                    first = stream.read(16)
                    if first.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
                        first += stream.read(int.from_bytes(first[14:16], "big"))
                    else:
                        first += stream.readline()
                    self.headers.append(first)
                    head = b""
                    while (line := stream.readline()) not in (b"\r\n", b""):
                        head += line
                    self.heads.append(head)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def log(self) -> str:
        return repr(self.headers)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_servers_are_told_who_the_client_is(stage: Stage, version: str) -> None:
    origin = Introduced(stage)
    proxy = proxy_to(stage, [origin.address], upstream={"proxy_protocol": version})
    with proxy.raw() as client:
        port = client.sock.getsockname()[1]
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.head().read() == b"ok"
    if version == "v1":
        expected = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (port, proxy.port)
    else:
        ports = struct.pack(">HH", port, proxy.port)
        expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 1] * 2) + ports
    assert origin.headers == [expected] * 2  # one connection for each request
    assert b"Connection: close\r\n" in origin.heads[0]


def test_health_checks_introduce_nobody(stage: Stage) -> None:
    origin = Introduced(stage)
    proxy_to(stage, [origin.address], upstream={"proxy_protocol": "v2", "health_check": CHECK})
    until(lambda: origin.headers, "it was asked")
    assert origin.headers[0] == b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_gunicorn_reads_the_header(stage: Stage, version: str) -> None:
    app = Gunicorn(stage, "environ_app:app", options=["--proxy-protocol", "auto"], tcp=True)
    proxy = proxy_to(stage, [app.address], upstream={"proxy_protocol": version})
    with proxy.raw() as client:
        port = client.sock.getsockname()[1]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        told = json.loads(client.head().read())
    assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == ("127.0.0.1", str(port))


def test_moves_to_a_kept_connection_of_another_server(stage: Stage) -> None:
    def die(exchange: Exchange) -> None:
        if b"/die" in exchange.request_line:
            exchange.close()
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    mortal, sound = Origin(stage, die, name="mortal"), Origin(stage, name="sound")
    proxy = proxy_to(stage, [server(mortal), server(sound)], timeouts={"upstream_idle": "30s"})
    for _ in range(2):
        assert proxy.get("/").status_code == 200
    assert [mortal.connections, sound.connections] == [1, 1]
    for _ in range(2):
        assert proxy.get("/die").status_code == 200
    assert sound.connections == 1, "the one that it has kept"
    assert proxy.metric("skystitch_upstream_moves_total") == 1


class FullBacklog:
    """A listener whose queue of connections is full, so that the kernel answers no more: connecting hangs."""

    def __init__(self, stage: Stage) -> None:
        self.name = "full"
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._waiting = [self._connect() for _ in range(4)]
        stage.add(self)

    def _connect(self) -> socket.socket:
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(self._listener.getsockname())
        return waiting

    def log(self) -> str:
        return ""

    def close(self) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_hangs_is_made_to_another(stage: Stage, method: str) -> None:
    sound = named(stage, "sound")
    timeouts = {"connect": "200ms"}
    proxy = proxy_to(stage, [FullBacklog(stage).address, sound.address], timeouts=timeouts, upstream={"max_fails": 1})
    answers = [proxy.request(method, "/", data=b"x" * 10 if method == "POST" else None) for _ in range(4)]
    assert [answer.text for answer in answers] == ["sound"] * 4
    assert proxy.metric("skystitch_upstream_connect_moves_total") == 1, "it is passed over from then on"
    assert proxy.metric("skystitch_upstream_server_down_total") == 1


@pytest.mark.parametrize(("retry", "moves"), [({"tries": 1}, 0), ({"tries": 2}, 1), ({"timeout": "100ms"}, 0)])
def test_retry_has_its_limits(stage: Stage, retry: dict[str, Any], moves: int) -> None:
    full = [FullBacklog(stage).address for _ in range(3)]
    proxy = proxy_to(stage, full, timeouts={"connect": "200ms"}, upstream={"retry": retry, "max_fails": 0})
    assert proxy.get("/").status_code == 504
    assert proxy.metric("skystitch_upstream_connect_moves_total") == moves
