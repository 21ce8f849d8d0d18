# SPDX-License-Identifier: Apache-2.0
"""compress: what clients get of answers that are compressed on their way."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
import requests

from harness import Exchange, Origin, Skystitch, Stage, until

BODY = b"".join(b"line %d of a page that repeats itself\n" % number for number in range(20_000))


def answer(fields: bytes = b"", body: bytes = BODY, status: bytes = b"200 OK", length: bool = True) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\n%s" % (status, fields)
    if length:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def proxy_to(stage: Stage, script: Any, compress: Any = "on", **more: Any) -> Skystitch:
    route = {"path": "/", "upstream": "app", "compress": compress, **more}
    return Skystitch(stage, Origin(stage, script).address, config={"routes": [route]})


def raw_get(proxy: Skystitch, accept: str | None, method: str = "GET") -> requests.Response:
    return proxy.request(method, "/", headers={"Accept-Encoding": accept}, stream=True)


def decoded(response: requests.Response) -> bytes:
    data = response.raw.read(decode_content=False)
    coding = response.headers.get("Content-Encoding")
    if coding == "gzip":
        return gzip.decompress(data)
    return data


@pytest.mark.parametrize("length", [True, False])
def test_gzip(stage: Stage, length: bool) -> None:
    proxy = proxy_to(stage, answer(b'ETag: "a"\r\nAccept-Ranges: bytes\r\n', length=length))
    response = raw_get(proxy, "gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["ETag"] == 'W/"a"'
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in response.headers
    assert "Accept-Ranges" not in response.headers
    assert decoded(response) == BODY
    assert proxy.metric("skystitch_compressed_answers_total", coding="gzip") == 1
    assert proxy.metric("skystitch_compression_bytes_total", direction="in") == len(BODY)
    assert proxy.metric("skystitch_compression_bytes_total", direction="out") < len(BODY) / 5


def test_brotli_is_preferred(stage: Stage) -> None:
    proxy = proxy_to(stage, answer())
    response = raw_get(proxy, "gzip, br")
    assert response.headers["Content-Encoding"] == "br"
    assert len(response.raw.read(decode_content=False)) < len(BODY) / 5
    assert proxy.metric("skystitch_compressed_answers_total", coding="br") == 1
    assert raw_get(proxy, "gzip, br;q=0.5").headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("accept", "script", "vary"),
    [
        (None, answer(), True),
        ("identity", answer(), True),
        ("gzip;q=0", answer(), True),
        ("gzip", answer(body=b"short"), False),
        ("gzip", answer(b"Content-Encoding: x\r\n"), False),
        ("gzip", answer(b"Cache-Control: no-transform\r\n"), False),
        ("gzip", answer(b"Content-Range: bytes 0-9/20\r\n", status=b"206 Partial Content"), False),
        ("gzip", answer().replace(b"text/html", b"image/png"), False),
    ],
)
def test_left_alone(stage: Stage, accept: str | None, script: bytes, vary: bool) -> None:
    proxy = proxy_to(stage, script)
    response = raw_get(proxy, accept)
    assert response.headers.get("Content-Encoding") in (None, "x")
    assert response.headers.get("Vary") == ("Accept-Encoding" if vary else None)
    assert response.raw.read(decode_content=False) == script.partition(b"\r\n\r\n")[2]
    assert proxy.metric("skystitch_compressed_answers_total") == 0


def test_head_says_what_get_would(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        whole = answer(b'ETag: "a"\r\n')
        exchange.send(whole if b"GET" in exchange.request_line else whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    proxy = proxy_to(stage, script)
    got, head = raw_get(proxy, "gzip"), raw_get(proxy, "gzip", "HEAD")
    for name in ("Content-Encoding", "Vary", "ETag", "Content-Length"):
        assert got.headers.get(name) == head.headers.get(name), name
    assert head.content == b""


def test_a_stream_stays_one(stage: Stage) -> None:
    """Each event can be read before the next one is sent."""
    events: list[Exchange] = []

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        events.append(exchange)

    proxy = proxy_to(stage, script)
    inflate = zlib.decompressobj(31)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        until(lambda: events, "the app has the request")
        response = client.head()
        assert response.headers["Content-Encoding"] == "gzip"
        for number in range(5):
            event = b"data: %d\n\n" % number
            events[0].send(b"%x\r\n%s\r\n" % (len(event), event))
            got = b""
            while got != event:
                got += inflate.decompress(response.read1(1000))
        events[0].send(b"0\r\n\r\n")
        inflate.decompress(response.read())
        assert inflate.eof


def test_an_answer_that_breaks_off_is_cut(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(answer()[:10_000])
        exchange.close()

    proxy = proxy_to(stage, script)
    with pytest.raises(requests.RequestException):
        proxy.get("/", headers={"Accept-Encoding": "gzip"})
    assert proxy.metric("skystitch_responses_cut_total") == 1


def test_files_and_returned_bodies(stage: Stage) -> None:
    folder = stage.path("files")
    folder.mkdir()
    (folder / "page.html").write_bytes(BODY)
    (folder / "empty.html").write_bytes(b"")
    routes = [
        {"path": "/static/", "static": str(folder), "compress": "on"},
        {"path": "/", "return": {"status": 200, "body": "x" * 5000}, "compress": {"gzip": "on", "types": ["text/*"]}},
    ]
    proxy = Skystitch(stage, "127.0.0.1:9", config={"routes": routes})
    page = proxy.get("/static/page.html", headers={"Accept-Encoding": "gzip"})
    assert (page.headers["Content-Encoding"], page.content) == ("gzip", BODY)
    assert proxy.get("/static/empty.html", headers={"Accept-Encoding": "gzip"}).content == b""
    part = proxy.get("/static/page.html", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, BODY[:10])
    again = proxy.get("/static/page.html", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304
    text = proxy.get("/", headers={"Accept-Encoding": "br, gzip"})
    assert (text.headers["Content-Encoding"], text.text) == ("gzip", "x" * 5000)


def test_many_answers_on_one_connection(stage: Stage) -> None:
    proxy = proxy_to(stage, answer())
    with requests.Session() as session:
        session.trust_env = False
        before = 0
        for number in range(60):
            assert session.get(proxy.url, headers={"Accept-Encoding": "gzip"}).content == BODY
            if number == 20:
                before = proxy.memory_kb()
        proxy.check_growth(before, 2048)
