# SPDX-License-Identifier: Apache-2.0
"""request_buffering: off: the app gets a body while it comes in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Collector, Exchange, Origin, RawClient, Site, Skystitch, Stage, until

MIB = 1 << 20
HEAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def config(**more: Any) -> dict[str, Any]:
    return {"routes": [{"path": "/", "upstream": "app", "request_buffering": "off"}], **more}


def proxy_to(
    stage: Stage, script: Callable[[Exchange], None], collector: Collector | None = None, **more: Any
) -> tuple[Skystitch, Origin]:
    origin = Origin(stage, script, bodies=False)
    return Skystitch(stage, origin.address, collector=collector, config=config(**more)), origin


def hold(_: Exchange) -> None:
    """Leaves the connection to the test."""
    threading.Event().wait()


def take(exchange: Exchange, size: int) -> bytes:
    while len(exchange.body) < size:
        more = exchange.receive()
        assert more, f"ended after {len(exchange.body)} of {size} bytes"
        exchange.body += more
    return exchange.body


def one(origin: Origin) -> Exchange:
    until(lambda: origin.exchanges, "the app has the request")
    return origin.exchanges[0]


def test_the_app_reads_what_was_sent_so_far(stage: Stage) -> None:
    proxy, origin = proxy_to(stage, hold)
    with proxy.raw() as client:
        client.send(HEAD % 10 + b"hello")
        exchange = one(origin)
        assert exchange.values(b"content-length") == [b"10"]
        assert exchange.values(b"transfer-encoding") == []
        assert take(exchange, 5) == b"hello"
        client.send(b"world")
        assert take(exchange, 10) == b"helloworld"


def test_chunks_are_passed_on_as_chunks(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        while not exchange.body.endswith(b"0\r\n\r\n"):
            exchange.body += exchange.receive()
        exchange.send(OK)

    proxy, origin = proxy_to(stage, script)
    with proxy.raw() as client:
        client.send(CHUNKED + b"5;name=value\r\nhello\r\n")
        exchange = one(origin)
        until(lambda: exchange.body == b"5\r\nhello\r\n", "the chunk, without its extension")
        client.send(b"1\r\n!\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n")
        assert client.response()[0].status == 200
        assert exchange.body == b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
        assert exchange.values(b"content-length") == []
        # The connection, and the app's, go on with the next request.
        until(lambda: len(origin.exchanges) == 2, "the next request")
        assert origin.exchanges[1].connection == exchange.connection


@pytest.fixture(scope="module")
def site(module_stage: Stage) -> Iterator[Site]:
    return Site(module_stage, "flask_app:app", worker_class="gthread", config=config())


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_arrive_whole(site: Site, chunked: bool) -> None:
    data = bytes(range(256)) * (20 * MIB // 256)
    parts = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    before = site.proxy.memory_kb()
    answer = site.proxy.request("POST", "/upload", data=parts if chunked else data)
    assert answer.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    site.proxy.check_growth(before, 4096)
    assert site.proxy.metric("skystitch_request_body_files_total") == 0


def test_expect_is_answered(site: Site) -> None:
    with site.proxy.raw() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.makefile().readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.makefile().readline() == b"\r\n"
        client.send(b"hello")
        answer, body = client.response("POST")
        assert (answer.status, json.loads(body)["size"]) == (200, 5)


def test_many_at_once(site: Site) -> None:
    """Bodies of all sizes around those of the buffers, in pieces that fall anywhere."""
    failed: list[str] = []

    def upload(size: int) -> None:
        data = bytes(number % 251 for number in range(size))
        step = size // 3 + 1
        answer = site.proxy.request("POST", "/upload", data=(data[at : at + step] for at in range(0, size, step)))
        if answer.json() != {"size": size, "sha256": hashlib.sha256(data).hexdigest()}:
            failed.append(f"{size}: {answer.text}")

    sizes = [1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 200_000]
    threads = [threading.Thread(target=upload, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_the_client_waits_for_an_app_that_does_not_read(stage: Stage) -> None:
    """Back-pressure: neither memory nor a file takes what the app does not."""
    proxy, origin = proxy_to(stage, hold)
    before = proxy.memory_kb()
    with proxy.raw(timeout=2) as client:
        client.send(HEAD % (100 * MIB))
        exchange = one(origin)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 90 * MIB:
                sent += client.sock.send(bytes(MIB))
        assert sent < 50 * MIB
        proxy.check_growth(before, 2048)
        client.sock.settimeout(10)
        threading.Thread(target=take, args=(exchange, sent), daemon=True).start()
        until(lambda: len(exchange.body) >= sent, "the app has all of it once it reads")


def test_an_early_answer_reaches_the_client(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")
        exchange.close()

    proxy, _ = proxy_to(stage, script)
    with proxy.raw() as client:
        client.send(HEAD % (10 * MIB) + b"begin")
        answer, body = client.response("POST")
        assert (answer.status, body, answer.headers["Connection"]) == (413, b"nope", "close")


def test_an_answer_that_begins_before_the_body_has_ended(stage: Stage) -> None:
    """As an echo does: both directions go on."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n")
        take(exchange, 5)
        exchange.send(exchange.body)
        take(exchange, 10)
        exchange.send(exchange.body[5:])

    proxy, _ = proxy_to(stage, script)
    with proxy.raw() as client:
        client.send(HEAD % 10 + b"hello")
        answer = client.head("POST")
        assert answer.read(5) == b"hello"
        client.send(b"world")
        assert answer.read(5) == b"world"


def test_the_app_closes_in_mid_body(stage: Stage) -> None:
    proxy, origin = proxy_to(stage, lambda exchange: exchange.reset())
    with proxy.raw() as client:
        client.send(HEAD % (10 * MIB) + bytes(1000))
        answer, _ = client.response("POST")
        assert answer.status == 502
    assert len(origin.exchanges) == 1
    assert proxy.metric("skystitch_upstream_retries_total") == 0


def test_a_put_is_not_sent_twice(stage: Stage) -> None:
    """It is idempotent, but its body is gone."""

    def script(exchange: Exchange) -> None:
        if b"/first" in exchange.request_line:
            exchange.send(OK)
        else:
            take(exchange, 3)
            exchange.close()

    proxy, origin = proxy_to(stage, script)
    with proxy.raw() as client:
        client.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response()[0].status == 200
        client.send(b"PUT /second HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert client.response("PUT")[0].status == 502
    assert [exchange.connection for exchange in origin.exchanges] == [1, 1]


def refused(client: RawClient, status: int) -> None:
    answer, _ = client.response("POST")
    assert (answer.status, answer.headers["Connection"]) == (status, "close")


def test_defects_of_the_body(stage: Stage) -> None:
    proxy, origin = proxy_to(stage, hold, limits={"body": "1MiB"}, timeouts={"body": "300ms"})
    with proxy.raw() as client:
        client.send(HEAD % (2 * MIB))
        refused(client, 413)
    assert origin.exchanges == [], "a length that is too large is refused at once"
    with proxy.raw() as client:
        client.send(CHUNKED + b"5\r\nhello\r\nxyz\r\n")
        refused(client, 400)
    with proxy.raw() as client:
        client.send(HEAD % 10 + b"hello")
        refused(client, 408)
    # The app sees each of them end.
    for exchange in origin.exchanges:
        until(lambda exchange=exchange: exchange.peer_closed(), "the app's connection is closed")


def test_chunks_beyond_the_limit(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        while exchange.receive():
            pass

    proxy, _ = proxy_to(stage, script, limits={"body": "1MiB"})
    with proxy.raw() as client:
        client.send(CHUNKED + (b"10000\r\n" + bytes(65536) + b"\r\n") * 17)
        refused(client, 413)
    for announced in (b"100001", b"f" * 16):  # before anything of it has come
        with proxy.raw() as client:
            client.send(CHUNKED + announced + b"\r\n")
            refused(client, 413)


def test_the_client_leaves_in_mid_body(stage: Stage) -> None:
    proxy, origin = proxy_to(stage, hold)
    with proxy.raw() as client:
        client.send(HEAD % 10 + b"hello")
        take(one(origin), 5)
    assert origin.exchanges[0].peer_closed()
    until(lambda: proxy.metric("skystitch_client_gone_total") == 1, "it is counted")


def test_the_span_lasts_as_long_as_the_request(stage: Stage) -> None:
    collector = Collector(stage)
    proxy, origin = proxy_to(stage, hold, collector)
    with proxy.raw() as client:
        client.send(HEAD % 10 + b"hello")
        exchange = one(origin)
        until(lambda: collector.segments == [], "nothing is reported before its end")
        client.send(b"world")
        take(exchange, 10)
        exchange.send(OK)
        assert client.response("POST")[0].status == 200
    assert collector.one().entry.tag("http.status_code") == "200"


def test_bodies_of_a_budget(stage: Stage) -> None:
    proxy, origin = proxy_to(stage, hold, limits={"buffered_bodies": "1MiB"})
    clients = []
    for _ in range(8):
        clients.append(proxy.raw())
        clients[-1].send(HEAD % 10 + b"hello")
    until(lambda: len(origin.exchanges) == 8, "they fit")
    with proxy.raw() as late:
        late.send(HEAD % 10 + b"hello")
        refused(late, 503)
    for client in clients:
        client.close()
    until(lambda: proxy.metric("skystitch_connections") == 0, "all have gone")
    with proxy.raw() as again:
        again.send(HEAD % 10 + b"hello")
        until(lambda: len(origin.exchanges) == 9, "there is room again")
