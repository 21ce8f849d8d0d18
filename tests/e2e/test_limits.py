# SPDX-License-Identifier: Apache-2.0
"""Too many connections, too much of a body, clients that are slow on purpose."""

from __future__ import annotations

import contextlib
import http.client
import resource
from typing import Any

import pytest

from harness import Exchange, FrameClient, Origin, RawClient, Skystitch, Stage, free_port, until
from harness.http2 import get
from http2_setting import Setting
from test_reload import reload

GET = b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1 << 20


def proxy_with(stage: Stage, origin: Origin, **config: Any) -> Skystitch:
    return Skystitch(stage, origin.address, config=config)


def served(client: RawClient) -> bool:
    client.send(GET)
    return client.response()[0].status == 200


# Connections.


def test_oldest_idle_connection_makes_room(stage: Stage) -> None:
    proxy = proxy_with(stage, Origin(stage), limits={"connections": 16})
    with contextlib.ExitStack() as open_clients:
        clients = [open_clients.enter_context(proxy.raw()) for _ in range(16)]
        assert all(served(client) for client in clients)
        # The first was idle for longest; a request makes it the youngest.
        assert served(clients[0])
        with proxy.raw() as late:
            assert served(late)
            assert clients[1].closed()
            assert served(clients[0])
    assert proxy.metric("skystitch_connections_displaced_total") == 1
    assert proxy.metric("skystitch_connections_refused_total") == 0


def test_a_displaced_http2_connection_hears_why(stage: Stage) -> None:
    """GOAWAY: what the client has sent meanwhile may go elsewhere."""
    setting = Setting(stage, Origin(stage).address, config={"limits": {"connections": 16}})
    with contextlib.ExitStack() as open_clients:
        oldest = open_clients.enter_context(setting.client())
        assert oldest.request(1, get()).status == 200
        others = [open_clients.enter_context(setting.client()) for _ in range(16)]
        assert all(client.request(1, get()).status == 200 for client in others)
        oldest.until_closed()
        assert [(frame.last_stream_id, frame.error_code) for frame in oldest.goaways] == [(1, 0)]
    assert setting.proxy.metric("skystitch_connections_displaced_total") == 1


def test_connections_are_refused_when_none_is_idle(stage: Stage) -> None:
    held: list[Exchange] = []
    origin = Origin(stage, held.append)
    proxy = proxy_with(stage, origin, limits={"connections": 16})
    with contextlib.ExitStack() as open_clients:
        clients = [open_clients.enter_context(proxy.raw()) for _ in range(16)]
        for client in clients:
            client.send(GET)
        until(lambda: len(held) == 16, "the app has all requests")
        with proxy.raw() as late:
            answer, body = late.response()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert body == b"Too many connections.\n"
            assert late.closed()
        for exchange in held:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert all(client.response()[0].status == 200 for client in clients)
    assert proxy.metric("skystitch_connections_refused_total", reason="limit") == 1
    until(lambda: proxy.metric("skystitch_connections") == 0, "all are closed")


def test_connections_of_one_address(stage: Stage) -> None:
    proxy = proxy_with(stage, Origin(stage), limits={"connections_per_address": 2}, forwarded={"trust": "never"})
    with proxy.raw() as first, proxy.raw() as second:
        assert served(first)
        assert served(second)
        with proxy.raw() as third:
            assert third.response()[0].status == 503
        assert served(first)
    until(lambda: proxy.metric("skystitch_connections") == 0, "both are closed")
    with proxy.raw() as again:
        assert served(again)
    assert proxy.metric("skystitch_connections_refused_total", reason="address") == 1


def test_a_trusted_peer_may_have_any_number(stage: Stage) -> None:
    proxy = proxy_with(stage, Origin(stage), limits={"connections_per_address": 1})
    with proxy.raw() as first, proxy.raw() as second:
        assert served(first)
        assert served(second)


# Bodies.


def test_all_bodies_share_a_budget(stage: Stage) -> None:
    origin = Origin(stage)
    proxy = proxy_with(stage, origin, limits={"buffered_bodies": "1MiB"})
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    with proxy.raw() as first, proxy.raw() as second:
        first.send(head % (2 * MIB) + bytes(MIB * 3 // 4))
        until(lambda: proxy.metric("skystitch_buffered_body_bytes") >= MIB * 3 // 4, "it is held")
        second.send(head % MIB)
        with contextlib.suppress(ConnectionError):
            second.send(bytes(MIB // 2))
        answer, body = second.response()
        assert answer.status == 503
        assert b"limits.buffered_bodies" in body
    assert proxy.metric("skystitch_requests_refused_total", reason="body_budget") == 1
    until(lambda: proxy.metric("skystitch_buffered_body_bytes") <= MIB // 2, "both are given back")
    assert proxy.request("POST", "/", data=bytes(MIB // 2)).status_code == 200
    assert not [exchange for exchange in origin.exchanges if len(exchange.body) != MIB // 2]


def test_a_body_that_drips(stage: Stage) -> None:
    """Bytes keep coming, so that no timeout is met; but too few of them."""
    origin = Origin(stage)
    proxy = proxy_with(stage, origin, timeouts={"body": "2s"}, limits={"body_rate": "1MiB"})
    with proxy.raw() as slow:
        slow.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while proxy.metric("skystitch_requests_refused_total", reason="body_rate") == 0:
                slow.send(b"x")
        assert slow.head().status == 408
    assert proxy.metric("skystitch_requests_refused_total", reason="body_rate") == 1
    assert origin.exchanges == []


def test_an_answer_that_is_sipped(stage: Stage) -> None:
    """The client takes something in each timeouts.write, so that it is not cut for taking nothing."""
    body = bytes(8 * MIB)
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    proxy = proxy_with(stage, origin, timeouts={"write": "2s"}, limits={"answer_rate": "1MiB"})
    with proxy.raw(receive_buffer=4096) as slow:
        slow.send(GET)

        def cut() -> bool:
            with contextlib.suppress(ConnectionError):
                slow.sock.recv(512)
            return proxy.metric("skystitch_responses_cut_total", reason="rate") == 1

        until(cut, "the answer is cut")
    assert proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 0


# What slowhttptest does: slow heads, slow bodies, slow readers and overlapping ranges.


def slow_head(client: RawClient) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n")


def slow_body(client: RawClient) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8192\r\n\r\nfoo=bar")


def slow_reader(client: RawClient) -> None:
    client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 10)


def many_ranges(client: RawClient) -> None:
    ranges = b",".join(b"5-%d" % end for end in range(1300))
    client.send(b"GET /static/page.html HTTP/1.1\r\nHost: a\r\nRange: bytes=" + ranges + b"\r\n\r\n")


REFUSED, CUT = "skystitch_requests_refused_total", "skystitch_responses_cut_total"


@pytest.mark.parametrize(
    ("attack", "cause"),
    [
        (slow_head, (REFUSED, "head_timeout")),
        (slow_body, (REFUSED, "body_timeout")),
        (slow_reader, (CUT, "write_timeout")),
        (many_ranges, None),
    ],
)
def test_others_are_served_during_a_slow_attack(stage: Stage, attack: Any, cause: Any) -> None:
    large = bytes(4 * MIB)
    folder = stage.path("files")
    folder.mkdir()
    (folder / "page.html").write_bytes(bytes(100_000))

    def script(exchange: Exchange) -> None:
        body = large if b"/large" in exchange.request_line else b"ok"
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    proxy = proxy_with(
        stage,
        Origin(stage, script),
        limits={"connections": 64},
        routes=[{"path": "/static/", "static": str(folder)}, {"path": "/", "upstream": "app"}],
        timeouts={"header": "1s", "body": "1s", "write": "1s"},
    )
    with contextlib.ExitStack() as attackers:
        for _ in range(60):
            client = attackers.enter_context(proxy.raw(receive_buffer=4096))
            with contextlib.suppress(ConnectionError):
                attack(client)
        for _ in range(20):
            assert proxy.get("/").status_code == 200
        if cause:
            until(lambda: proxy.metric(cause[0], reason=cause[1]) == 60, "all attackers are got rid of")


@pytest.mark.matrix
def test_many_idle_connections(stage: Stage) -> None:
    """Ten thousand, or as many as descriptors allow on both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, (hard - 200) // 2)
    try:
        proxy = proxy_with(
            stage, Origin(stage), limits={"connections": max(16, count + 10)}, timeouts={"idle": "10m"}
        )
        clients = [proxy.raw() for _ in range(count)]
        for client in clients:
            assert served(client)
        assert proxy.metric("skystitch_connections") >= count
        if "asan" not in str(proxy.binary):
            assert proxy.memory_kb() < 60_000, f"{proxy.memory_kb()} KiB for {count} idle connections"
        print(f"{count} idle connections: {proxy.memory_kb()} KiB")
        for client in clients:
            client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_http_client_reads_the_refusal(stage: Stage) -> None:
    """A client that sends at once, as all do, is answered rather than reset."""
    held: list[Exchange] = []
    origin = Origin(stage, held.append)
    proxy = proxy_with(stage, origin, limits={"connections": 16})
    with contextlib.ExitStack() as open_clients:
        for _ in range(16):
            open_clients.enter_context(proxy.raw()).send(GET)
        until(lambda: len(held) == 16, "the app has all requests")
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 503
        connection.close()


# Requests per address.


def test_requests_of_one_address(stage: Stage) -> None:
    """All workers together give out each token once."""
    proxy = proxy_with(stage, Origin(stage), workers=2, rate_limit={"rate": "1/h", "burst": 10})
    answers = [proxy.get("/") for _ in range(30)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 20
    assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600
    assert proxy.metric("skystitch_failures_total", reason="rate_limited") == 20
    # The peer is trusted: what counts is the client that it names.
    for client in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"):
        named = [proxy.get("/", headers={"X-Forwarded-For": client}).status_code for _ in range(11)]
        assert named == [200] * 10 + [429]
    assert proxy.get("/", headers={"X-Forwarded-For": "2001:db8:0:1:ffff::9"}).status_code == 429
    assert proxy.get("/", headers={"Forwarded": "for=192.0.2.1"}).status_code == 429
    assert proxy.get("/", headers={"Forwarded": "for=192.0.2.3"}).status_code == 200


def test_an_untrusted_peer_cannot_name_another(stage: Stage) -> None:
    proxy = proxy_with(stage, Origin(stage), rate_limit={"rate": "1/h", "burst": 2}, forwarded={"trust": "never"})
    names = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(4)]
    assert [proxy.get("/", headers=name).status_code for name in names] == [200, 200, 429, 429]


def test_a_route_has_a_rate_of_its_own(stage: Stage) -> None:
    proxy = proxy_with(
        stage,
        Origin(stage),
        rate_limit={"rate": "1/h", "burst": 3},
        routes=[
            {"path": "/login", "upstream": "app", "rate_limit": {"rate": "1/m", "burst": 1}},
            {"path": "/", "upstream": "app"},
        ],
    )
    assert [proxy.get("/login").status_code for _ in range(2)] == [200, 429]
    assert [proxy.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert int(proxy.get("/login").headers["Retry-After"]) <= 60


def test_a_body_over_the_rate_is_not_read(stage: Stage) -> None:
    """The answer comes with the head, be the body a gigabyte; and a body counts once, as all requests."""
    origin = Origin(stage)
    proxy = proxy_with(
        stage, origin, rate_limit={"rate": "1/h", "burst": 2}, limits={"body": "2GiB"}, buffer={"memory": "0"}
    )
    assert [proxy.request("POST", "/", data=b"x" * 100).status_code for _ in range(2)] == [200, 200]
    before = proxy.metric("skystitch_request_body_files_total")
    for more in (b"", b"Expect: 100-continue\r\n", b"Connection: close\r\n"):
        with proxy.raw() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + more + b"Content-Length: 1073741824\r\n\r\n")
            answer, _ = client.response()
            assert (answer.status, answer.headers["Connection"]) == (429, "close")
            assert 3500 < int(answer.headers["Retry-After"]) <= 3600
            client.send(b"x" * 300_000)  # it is dropped, and the answer was not lost by a reset
            client.half_close()
            assert client.closed()
    with proxy.raw() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        assert client.response()[0].status == 429
    assert len(origin.exchanges) == 2
    assert proxy.metric("skystitch_request_body_files_total") == before
    assert proxy.metric("skystitch_failures_total", reason="rate_limited") == 4


@pytest.mark.parametrize("buffered", ["on", "off"])
def test_a_body_over_the_rate_is_not_read_from_http2(stage: Stage, buffered: str) -> None:
    origin = Origin(stage)
    port = free_port()
    proxy = Skystitch(
        stage,
        origin.address,
        port=port,
        config={
            "listen": [{"address": f"127.0.0.1:{port}", "h2c": "on"}],
            "routes": [{"path": "/", "upstream": "app", "request_buffering": buffered}],
            "rate_limit": {"rate": "1/h", "burst": 1},
        },
    )
    fields = get(method="POST")
    with FrameClient(port) as client:
        assert client.request(1, fields, b"body").status == 200
        client.send(client.head(3, [*fields, ("content-length", "100000000")], end=False))
        client.send(client.data(3, b"x" * 10_000))
        answer = client.answer(3)
        assert answer.status == 429
        client.until(lambda: answer.reset is not None, "the rest is not wanted")
        assert answer.reset == 0, "NO_ERROR: RFC 9113, 8.1"
        assert client.request(5, fields, b"body").status == 429, "the connection goes on"
    assert len(origin.exchanges) == 1
    assert proxy.metric("skystitch_failures_total", reason="rate_limited") == 2


def test_a_reload_leaves_clients_their_buckets(stage: Stage) -> None:
    """Those of a route by its place, wherever in the list it stands."""
    login = {"path": "/login", "upstream": "app", "rate_limit": {"rate": "1/h", "burst": 2}}
    other = {"path": "/other", "upstream": "app", "rate_limit": {"rate": "1/h", "burst": 2}}
    rest = {"path": "/", "upstream": "app"}
    proxy = proxy_with(stage, Origin(stage), routes=[login, rest])
    assert [proxy.get("/login").status_code for _ in range(3)] == [200, 200, 429]
    longer = {"path": "/longer-than-that", "upstream": "app", "rate_limit": {"rate": "1/h", "burst": 2}}
    reload(proxy, routes=[longer, other, login, rest])
    assert proxy.get("/login").status_code == 429
    for path in ("/longer-than-that", "/other"):
        assert [proxy.get(path).status_code for _ in range(3)] == [200, 200, 429]


def test_forgotten_clients_are_counted(stage: Stage) -> None:
    proxy = proxy_with(stage, Origin(stage), rate_limit={"rate": "1/h", "burst": 2, "addresses": 64})
    with proxy.raw() as client:
        for number in range(1, 200):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n" % number)
            assert client.response()[0].status == 200
    assert proxy.metric("skystitch_rate_limit_evicted_total") >= 199 - 64
