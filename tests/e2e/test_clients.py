# SPDX-License-Identifier: Apache-2.0
"""Clients as they come: curl, requests, httpx, HTTP/1.0, pipelining, slow, fast and rude ones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest
import requests

from harness import Exchange, Origin, Site, Skystitch, Stage, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def site(module_stage: Stage) -> Iterator[Site]:
    return Site(module_stage, "flask_app:app", worker_class="gthread")


def curl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", *arguments], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pattern(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def test_curl(site: Site) -> None:
    assert json.loads(curl(f"{site.proxy.url}/users/7")) == {"id": 7}
    head = curl("-I", f"{site.proxy.url}/users/7")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"stitch" not in head.lower()


def test_curl_waits_for_100_continue(site: Site) -> None:
    body = pattern(2 * MIB)
    answer = curl("-H", "Expect: 100-continue", "--data-binary", "@-", f"{site.proxy.url}/upload", stdin=body)
    assert json.loads(answer) == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_expect_is_answered_before_the_body(site: Site) -> None:
    with site.proxy.raw() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.makefile().readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.makefile().readline() == b"\r\n"
        client.send(b"hello")
        answer, body = client.response("POST")
        assert (answer.status, json.loads(body)["size"]) == (200, 5)


def test_requests_session(site: Site) -> None:
    before = site.proxy.metric("skystitch_connections_total")
    with requests.Session() as session:
        session.trust_env = False
        for number in range(5):
            assert session.get(f"{site.proxy.url}/users/{number}").json() == {"id": number}
        assert session.get(f"{site.proxy.url}/redirect").json() == {"id": 1}
    assert site.proxy.metric("skystitch_connections_total") == before + 1, "the connection is kept"


def test_httpx(site: Site) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{site.proxy.url}/users/7").json() == {"id": 7}
        with client.stream("GET", f"{site.proxy.url}/stream") as answer:
            assert "".join(answer.iter_text()) == "part 0\npart 1\npart 2\n"


def test_http_1_0(site: Site) -> None:
    """A client of 1.0 gets no chunks; the end of the connection ends the body."""
    with site.proxy.raw() as client:
        client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"part 0\npart 1\npart 2\n"


def test_http_1_0_keep_alive(site: Site) -> None:
    with site.proxy.raw() as client:
        for _ in range(2):
            client.send(b"GET /users/7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer, body = client.response()
            assert answer.headers["Connection"].lower() == "keep-alive"
            assert json.loads(body) == {"id": 7}


def test_pipelined(site: Site) -> None:
    paths = [f"/users/{number}" for number in range(20)]
    with site.proxy.raw() as client:
        client.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths))
        answers = [json.loads(client.response()[1])["id"] for _ in paths]
    assert answers == list(range(20))


def test_head_has_no_body(site: Site) -> None:
    with site.proxy.raw() as client:
        client.send(b"HEAD /users/7 HTTP/1.1\r\nHost: a\r\n\r\nGET /users/8 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer, body = client.response("HEAD")
        assert (answer.status, body) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0
        assert json.loads(client.response()[1]) == {"id": 8}


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(stage: Stage, status: int) -> None:
    """Also when the app sends one: it must not become the head of the next answer."""
    origin = Origin(stage, b'HTTP/1.1 %d X\r\nETag: "e"\r\n\r\nsurprise' % status)
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer, body = client.response()
            assert (answer.status, body) == (status, b"")
            assert answer.headers["ETag"] == '"e"'


@pytest.mark.parametrize("length", ["", "?length=1"])
def test_large_download(site: Site, length: str) -> None:
    size = 50 * MIB
    digest, got = hashlib.sha256(), 0
    with site.proxy.session.get(f"{site.proxy.url}/download/{size}{length}", stream=True, timeout=60) as answer:
        for part in answer.iter_content(1 << 16):
            digest.update(part)
            got += len(part)
    block = bytes(range(256)) * 256
    expected = hashlib.sha256()
    for _ in range(size // len(block)):
        expected.update(block)
    assert (got, digest.digest()) == (size, expected.digest())


@pytest.mark.parametrize("chunked", [False, True])
def test_large_upload(site: Site, chunked: bool) -> None:
    body = pattern(50 * MIB)
    data = (body[start : start + MIB] for start in range(0, len(body), MIB)) if chunked else body
    before = site.proxy.memory_kb()
    answer = site.proxy.request("POST", "/upload", data=data, timeout=60)
    assert answer.json() == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    site.proxy.check_growth(before, 4 * 1024)  # the body is in a file


def test_a_body_is_complete_before_the_app_is_bothered(stage: Stage) -> None:
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        until(lambda: proxy.metric("skystitch_connections_total") == 1, "the head is read")
        assert origin.connections == 0
        client.send(b"cd")
        assert client.response("POST")[0].status == 200
    assert origin.exchanges[0].body == b"abcd"


def test_a_slow_reader_holds_nobody(site: Site) -> None:
    """It takes a little and stops; others are served, and the proxy does not store the rest."""
    before = site.proxy.memory_kb()
    with site.proxy.raw(receive_buffer=4096) as client:
        client.send(b"GET /download/50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        answer.read(1000)
        for number in range(20):
            assert site.proxy.get(f"/users/{number}").status_code == 200
        site.proxy.check_growth(before, 4 * 1024)
        assert len(answer.read()) == 50000000 - 1000


def test_a_client_that_leaves_in_mid_download(site: Site) -> None:
    site.collector.clear()
    client = site.proxy.raw()
    client.send(b"GET /download/50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    client.head().read(1000)
    client.reset()
    entry = site.collector.one().entry
    assert entry.tag("client_gone") == "true"
    assert not entry.error
    assert site.proxy.get("/users/7").status_code == 200


def test_a_client_that_leaves_in_mid_upload(site: Site) -> None:
    with site.proxy.raw() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        client.reset()
    assert site.proxy.get("/users/7").status_code == 200


def test_parts_of_a_stream_come_at_once(stage: Stage) -> None:
    """A part that the app has sent is not held until more comes."""

    def two_parts(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert seen.wait(10)
        exchange.send(b"6\r\nsecond\r\n0\r\n\r\n")

    seen = threading.Event()
    proxy = Skystitch(stage, Origin(stage, two_parts).address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        assert answer.read(5) == b"first"
        seen.set()
        assert answer.read() == b"second"


def test_an_answer_ended_by_close(stage: Stage) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        exchange.close()

    proxy = Skystitch(stage, Origin(stage, answer).address)
    with proxy.raw() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response()[1] == b"until the end"


def test_early_hints_pass(stage: Stage) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    proxy = Skystitch(stage, Origin(stage, answer).address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = client.rest()
    assert received.startswith(b"HTTP/1.1 103 ")
    assert b"</a.css>" in received
    assert received.endswith(b"ok")


def test_many_cookies_pass(site: Site) -> None:
    answer = site.proxy.get("/cookies")
    assert sorted(answer.cookies.keys()) == sorted(f"c{number}" for number in range(12))


def test_forwarded_for(stage: Stage) -> None:
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address)
    proxy.get("/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Host": "shop.test"})
    told = origin.exchanges[-1]
    assert told.values(b"x-forwarded-for") == [b"203.0.113.9, 127.0.0.1"]
    assert told.values(b"x-forwarded-proto") == [b"https"]
    assert told.values(b"x-forwarded-host") == [b"shop.test"]


def test_forwarded_for_of_a_stranger(stage: Stage) -> None:
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address, config={"forwarded": {"trust": "never"}})
    proxy.get(
        "/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6"}
    )
    told = origin.exchanges[-1]
    assert told.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert told.values(b"x-forwarded-proto") == [b"http"]
    assert b"6.6.6.6" not in told.head


def test_half_closed(stage: Stage) -> None:
    """A client that shuts down its sending side gets its answer; one that is silent gets nothing."""
    proxy = Skystitch(stage, Origin(stage).address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.half_close()
        received = client.rest()
    assert received.endswith(b"ok")
    assert proxy.metric("skystitch_client_gone_total") == 0
    with proxy.raw() as client:
        client.half_close()
        assert client.closed()
