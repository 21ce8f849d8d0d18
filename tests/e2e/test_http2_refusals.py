# SPDX-License-Identifier: Apache-2.0
"""What is refused of HTTP/2: malformed requests, too much of anything, and the attacks that have names."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hyperframe.frame import PingFrame, SettingsFrame, WindowUpdateFrame

from harness import Exchange, FrameClient, Origin, Pki, Stage
from harness.http2 import get
from http2_setting import (
    CALM,
    COMPRESSION_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Setting,
    only,
)


@pytest.fixture(scope="module")
def origin(module_stage: Stage) -> Origin:
    return Origin(module_stage)


@pytest.fixture(scope="module")
def setting(module_stage: Stage, origin: Origin) -> Setting:
    return Setting(module_stage, origin.address)


def send_quietly(client: FrameClient, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sock.sendall(data)


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


BROKEN = {
    "an index behind both tables": (COMPRESSION_ERROR, FrameClient.block(1, b"\x7f\x07\x00")),
    "the end of the code in a string": (COMPRESSION_ERROR, FrameClient.block(1, b"\x00\x01a\x84\xff\xff\xff\xff")),
    "a PING of six bytes": (FRAME_SIZE_ERROR, b"\x00\x00\x06\x06\x00\x00\x00\x00\x00" + bytes(6)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_connection(setting: Setting, origin: Origin, name: str) -> None:
    error, frame = BROKEN[name]
    before = len(origin.exchanges)
    with setting.client() as client:
        client.send(frame)
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [error]
    assert len(origin.exchanges) == before


def test_another_preface(stage: Stage) -> None:
    """Of a client that has chosen HTTP/2 in its handshake."""
    pki = Pki(stage.directory)
    setting = Setting(stage, "127.0.0.1:1", pki.sign("localhost", "DNS:localhost"))
    with FrameClient(setting.tls_port, tls=pki.context(), preface=b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n") as client:
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]


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
