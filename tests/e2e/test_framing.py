# SPDX-License-Identifier: Apache-2.0
"""Ambiguous requests are refused before an app sees them; odd but sound ones pass byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Origin, Skystitch, Stage, until

HOST = b"Host: shop.test\r\n"


def get(fields: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + fields + b"\r\n"


def post(fields: bytes, body: bytes) -> bytes:
    return get(fields, b"POST /orders HTTP/1.1") + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "length and coding": post(b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n"),
    "coding and length": post(CHUNKED + b"Content-Length: 3\r\n", b"0\r\n\r\n"),
    "two lengths": post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "list of lengths": post(b"Content-Length: 3, 3\r\n", b"abc"),
    "signed length": post(b"Content-Length: +3\r\n", b"abc"),
    "negative length": post(b"Content-Length: -3\r\n", b"abc"),
    "hex length": post(b"Content-Length: 0x3\r\n", b"abc"),
    "empty length": post(b"Content-Length: \r\n", b""),
    "length overflows": post(b"Content-Length: 18446744073709551617\r\n", b"a"),
    "two codings": post(CHUNKED + CHUNKED, b"0\r\n\r\n"),
    "unknown coding": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "coding twice in one": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "coding with a tab": post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "coding in 1.0": get(CHUNKED, b"POST / HTTP/1.0") + b"0\r\n\r\n",
    "folded field": get(b"X-A: 1\r\n 2\r\n"),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "bare LF": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "bare CR": get(b"X-A: 1\r2\r\n"),
    "NUL in a value": get(b"X-A: 1\x002\r\n"),
    "NUL in the path": get(line=b"GET /a\x00b HTTP/1.1"),
    "space before the colon": get(b"X-A : 1\r\n"),
    "space before the coding's colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "no name": get(b": 1\r\n"),
    "no colon": get(b"X-A\r\n"),
    "delimiter in a name": get(b"X(A: 1\r\n"),
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": get(b"Host: other.test\r\n"),
    "space in Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "two spaces in the line": get(line=b"GET  / HTTP/1.1"),
    "space in the path": get(line=b"GET /a b HTTP/1.1"),
    "delimiter in the method": get(line=b"GE(T / HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "lower-case version": get(line=b"GET / http/1.1"),
}

BAD_CHUNKS = {
    "hex prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    "junk after the size": b"3x\r\nabc\r\n0\r\n\r\n",
    "signed": b"+3\r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "too many digits": b"0000000000000000000000003\r\nabc\r\n0\r\n\r\n",
    "overflow": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare CR in an extension": b"3;a=\rb\r\nabc\r\n0\r\n\r\n",
}


class Setting:
    def __init__(self, stage: Stage) -> None:
        self.origin = Origin(stage)
        self.proxy = Skystitch(stage, self.origin.address)


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Iterator[Setting]:
    return Setting(module_stage)


def check_refused(setting: Setting, request: bytes, pieces: int = 1) -> None:
    before = len(setting.origin.exchanges)
    with setting.proxy.raw() as client:
        size = -(-len(request) // pieces)
        for start in range(0, len(request), size):
            client.send(request[start : start + size])
        answer, _ = client.response()
        assert answer.status == 400
        assert client.closed(), "the connection must not be used after that"
    assert len(setting.origin.exchanges) == before, "the app saw it"


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(setting: Setting, kind: str) -> None:
    check_refused(setting, REFUSED[kind])


@pytest.mark.parametrize("kind", BAD_CHUNKS)
def test_bad_chunks(setting: Setting, kind: str) -> None:
    check_refused(setting, post(CHUNKED, BAD_CHUNKS[kind]))


def test_refusals_are_counted(setting: Setting) -> None:
    before = setting.proxy.metric("skystitch_responses_total", **{"class": "4xx"})
    check_refused(setting, REFUSED["length and coding"])
    assert setting.proxy.metric("skystitch_responses_total", **{"class": "4xx"}) == before + 1


def test_nothing_is_smuggled_behind_a_refusal(setting: Setting) -> None:
    before = len(setting.origin.exchanges)
    with setting.proxy.raw() as client:
        client.send(REFUSED["length and coding"] + get(line=b"GET /smuggled HTTP/1.1"))
        assert client.response()[0].status == 400
        assert client.closed()
    assert len(setting.origin.exchanges) == before


def test_a_chunked_body_reaches_the_app_whole(setting: Setting) -> None:
    """With one framing only, whichever the proxy chooses; an extension is left out."""
    with setting.proxy.raw() as client:
        client.send(post(CHUNKED, b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"))
        assert client.response()[0].status == 200
    exchange = setting.origin.exchanges[-1]
    assert exchange.values(b"content-length") == [b"5"]
    assert exchange.values(b"transfer-encoding") == []
    assert exchange.body == b"abcde"


@pytest.mark.parametrize("cut", [1, 3, 17])
def test_a_request_in_pieces(setting: Setting, cut: int) -> None:
    request = post(CHUNKED, b"3\r\nabc\r\n0\r\n\r\n") + get(line=b"GET /second HTTP/1.1")
    with setting.proxy.raw() as client:
        for start in range(0, len(request), cut):
            client.send(request[start : start + cut])
        assert client.response()[0].status == 200
        assert client.response()[0].status == 200
    assert setting.origin.exchanges[-2].body == b"abc"
    assert setting.origin.exchanges[-1].request_line == b"GET /second HTTP/1.1"


def test_path_and_fields_pass_byte_for_byte(setting: Setting) -> None:
    path = b"/a%2Fb//c/../d;x=1/%e4?q=%20&q=a+b&&r=[1]"
    fields = b'X-One: 1\r\nx-one: 2\r\nX-Raw: caf\xe9 "q"\r\nETag: "x"\r\nProxy-Authorization: Basic eA==\r\n'
    with setting.proxy.raw() as client:
        client.send(get(fields, b"GET " + path + b" HTTP/1.1"))
        assert client.response()[0].status == 200
    exchange = setting.origin.exchanges[-1]
    assert exchange.request_line == b"GET " + path + b" HTTP/1.1"
    assert exchange.values(b"host") == [b"shop.test"]
    assert exchange.values(b"x-one") == [b"1", b"2"]
    assert exchange.values(b"x-raw") == [b'caf\xe9 "q"']
    assert exchange.values(b"etag") == [b'"x"']
    assert exchange.values(b"proxy-authorization") == [b"Basic eA=="]


def test_hop_by_hop_fields_stay_here(setting: Setting) -> None:
    fields = b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n"
    setting.origin.script = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Content-Length: 2\r\nX-Stays: 1\r\n\r\nok"
    )
    with setting.proxy.raw() as client:
        client.send(get(fields))
        answer, _ = client.response()
    setting.origin.script = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    sent = {name for name, _ in setting.origin.exchanges[-1].fields}
    assert not sent & {b"x-hop", b"keep-alive", b"te", b"upgrade"}
    back = {name.lower() for name in answer.headers}
    assert "x-stays" in back
    assert not back & {"x-back", "keep-alive"}


def test_fields_with_an_underscore_are_dropped(setting: Setting) -> None:
    """WSGI cannot tell X_Forwarded_For from X-Forwarded-For."""
    with setting.proxy.raw() as client:
        client.send(get(b"X_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\nX-Kept: 1\r\n"))
        assert client.response()[0].status == 200
    exchange = setting.origin.exchanges[-1]
    assert b"6.6.6.6" not in exchange.head
    assert exchange.values(b"content_length") == []
    assert exchange.values(b"x-kept") == [b"1"]


@pytest.mark.parametrize("method", [b"PURGE", b"TRACE", b"PROPFIND", b"M-SEARCH", b"OPTIONS"])
def test_any_method_passes(setting: Setting, method: bytes) -> None:
    with setting.proxy.raw() as client:
        client.send(get(line=method + b" /x HTTP/1.1"))
        assert client.response()[0].status == 200
    assert setting.origin.exchanges[-1].request_line == method + b" /x HTTP/1.1"


LIMITS = {
    "version": (505, get(line=b"GET / HTTP/2.0")),
    "line": (414, get(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1")),
    "head": (431, get(b"X-A: " + b"a" * 70000 + b"\r\n")),
    "fields": (431, get(b"".join(b"X-%d: 1\r\n" % number for number in range(91)))),
}


@pytest.mark.parametrize("kind", LIMITS)
def test_limits(setting: Setting, kind: str) -> None:
    status, request = LIMITS[kind]
    before = len(setting.origin.exchanges)
    with setting.proxy.raw() as client:
        client.send(request)
        assert client.response()[0].status == status
    assert len(setting.origin.exchanges) == before


@pytest.mark.parametrize("chunked", [False, True])
def test_body_too_large(stage: Stage, chunked: bool) -> None:
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address, config={"limits": {"body": "1KiB"}})
    body = b"a" * 2000
    request = (
        post(CHUNKED, b"7d0\r\n" + body + b"\r\n0\r\n\r\n") if chunked else post(b"Content-Length: 2000\r\n", body)
    )
    with proxy.raw() as client:
        client.send(request)
        answer, text = client.response("POST")
        assert answer.status == 413
        assert b"limits.body" in text
    assert origin.exchanges == []


TIMERS = {
    "head": ({"header": "200ms"}, b"GET / HTTP/1.1\r\nHos", 408),
    "body": ({"body": "200ms"}, post(b"Content-Length: 5\r\n", b"ab"), 408),
}


@pytest.mark.parametrize("kind", TIMERS)
def test_slow_requests_are_given_up(stage: Stage, kind: str) -> None:
    timeouts, request, status = TIMERS[kind]
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address, config={"timeouts": timeouts})
    with proxy.raw() as client:
        client.send(request)
        assert client.response()[0].status == status
        assert client.closed()
    assert origin.exchanges == []


def test_an_idle_connection_is_closed_without_a_word(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"timeouts": {"idle": "2s"}})
    with proxy.raw() as client:
        client.send(get())
        assert client.response()[0].status == 200
        assert client.closed()
    until(lambda: proxy.metric("skystitch_connections_total") >= 1, "counted")
