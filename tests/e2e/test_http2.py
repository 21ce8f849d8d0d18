# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as clients meet it: what the app gets of it, what comes back, and when it is spoken."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest
from hyperframe.frame import SettingsFrame

from harness import Collector, Exchange, Gunicorn, Origin, Pair, Pki, Skystitch, Stage, free_port, until
from harness.http2 import PREFACE, get
from http2_setting import (
    OK,
    Setting,
    only,
)


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


# What the app gets.


def test_the_app_gets_http1(setting: Setting, origin: Origin, collector: Collector) -> None:
    before, answered = len(origin.exchanges), setting.proxy.metric("skystitch_responses_total", **{"class": "2xx"})
    requests = setting.proxy.metric("skystitch_requests_total", version="2")
    connections = setting.proxy.metric("skystitch_http2_connections_total")
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
    assert setting.proxy.metric("skystitch_http2_connections_total") == connections + 1
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
