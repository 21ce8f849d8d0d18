# SPDX-License-Identifier: Apache-2.0
"""TLS as clients meet it: versions, large bodies, slow and rude clients, stop, key updates, redirects and HSTS."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from harness import Collector, Exchange, Gunicorn, Origin, Pair, Pki, RawClient, Skystitch, Stage, free_port, until
from harness.http2 import PREFACE, get
from load import Load
from tls_site import GET, MIB, OK, TlsSite, versions


@pytest.fixture(scope="module")
def pki(module_stage: Stage) -> Pki:
    return Pki(module_stage.directory)


@pytest.fixture(scope="module")
def server(pki: Pki) -> Pair:
    return pki.sign("server", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def collector(module_stage: Stage) -> Collector:
    return Collector(module_stage)


@pytest.fixture(scope="module")
def site(module_stage: Stage, server: Pair, collector: Collector) -> Iterator[TlsSite]:
    app = Gunicorn(module_stage, "flask_app:app", worker_class="gthread")
    return TlsSite(module_stage, app.address, server.config(), collector=collector)


def curl(pki: Pki, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "-sS", "--noproxy", "*", "--cacert", str(pki.authority.certificate), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


def pattern(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.parametrize(("option", "protocol"), [("--http1.1", "http/1.1"), ("--http2", "h2")])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(site: TlsSite, pki: Pki, version: str, option: str, protocol: str) -> None:
    done = curl(pki, "-v", option, f"--tlsv{version}", "--tls-max", version, f"{site.url}/users/7")
    assert json.loads(done.stdout) == {"id": 7}
    assert f"SSL connection using TLSv{version}".encode() in done.stderr
    assert f"server accepted {protocol}".encode() in done.stderr


def test_curl_sees_why_its_body_is_refused(stage: Stage, pki: Pki, server: Pair) -> None:
    """Over HTTP/2 the answer comes while the body is still sent."""
    site = TlsSite(stage, "127.0.0.1:1", server.config(), {"limits": {"body": "1KiB"}})
    for _ in range(8):
        done = curl(pki, "--http2", "-o", "/dev/null", "-w", "%{http_code}", "-T", "-", site.url, stdin=bytes(30000))
        assert done.stdout == b"413", done.stderr
        file = stage.path("body")
        file.write_bytes(bytes(30000))
        done = curl(pki, "--http2", "-o", "/dev/null", "-w", "%{http_code}", "-T", str(file), site.url)
        assert done.stdout == b"413", done.stderr


def test_requests_keeps_its_connection(site: TlsSite, pki: Pki) -> None:
    before = site.proxy.metric("skystitch_tls_handshakes_total")
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(5):
            answer = session.get(f"{site.url}/users/7", verify=str(pki.authority.certificate), timeout=30)
            assert answer.json() == {"id": 7}
    assert site.proxy.metric("skystitch_tls_handshakes_total") == before + 1


def test_the_span_and_the_app_say_https(stage: Stage, pki: Pki, server: Pair) -> None:
    collector, origin = Collector(stage), Origin(stage)
    site = TlsSite(stage, origin.address, server.config(), collector=collector)
    with site.raw(pki.context()) as client:
        client.send(GET)
        client.response()
    assert origin.exchanges[0].values(b"x-forwarded-proto") == [b"https"]
    assert collector.one().entry.tag("http.url").startswith("https://a/")


@versions
def test_large_bodies(site: TlsSite, pki: Pki, version: ssl.TLSVersion) -> None:
    body = pattern(20 * MIB)
    digest = hashlib.sha256(body).hexdigest()
    before = site.proxy.memory_kb()
    with site.raw(pki.context(version), timeout=60) as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer, text = client.response("POST")
        assert (answer.status, json.loads(text)) == (200, {"size": len(body), "sha256": digest})
        client.send(b"GET /download/%d HTTP/1.1\r\nHost: a\r\n\r\n" % len(body))
        answer, text = client.response()
        assert (answer.status, len(text)) == (200, len(body))
    site.proxy.check_growth(before, 8 * 1024)


@versions
def test_chunked_upload_in_small_records(site: TlsSite, pki: Pki, version: ssl.TLSVersion) -> None:
    with site.raw(pki.context(version)) as client:
        for part in b"POST /upload HTTP/1.1\r\n", b"Host: a\r\nTransfer-Encoding: chun", b"ked\r\n\r\n":
            client.send(part)
        for _ in range(200):
            client.send(b"5\r\nhello\r\n")
        client.send(b"0\r\n\r\n")
        answer, text = client.response("POST")
        assert (answer.status, json.loads(text)["size"]) == (200, 1000)


@versions
@pytest.mark.parametrize("count", [100, 2000])
def test_pipelining(site: TlsSite, pki: Pki, version: ssl.TLSVersion, count: int) -> None:
    """In one record that is read in parts; and more than is read ahead. By one thread: Python's SSL
    sockets do not bear a reader beside a writer."""
    ahead = min(count, 1000)
    requests = [b"GET /users/%d HTTP/1.1\r\nHost: a\r\nX-Fill: %s\r\n\r\n" % (i, b"x" * 60) for i in range(count)]
    with site.raw(pki.context(version), timeout=60) as client:
        client.send(b"".join(requests[:ahead]))
        for i in range(count):
            answer, text = client.response()
            assert (answer.status, json.loads(text)) == (200, {"id": i})
            if i + ahead < count:
                client.send(requests[i + ahead])


def test_a_slow_reader(stage: Stage, pki: Pki, server: Pair) -> None:
    """Gets everything, and what it does not take is not held for it."""
    size = 64 * MIB
    piece = bytes(MIB)

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            exchange.send(piece)

    site = TlsSite(stage, Origin(stage, answer).address, server.config())
    before = site.proxy.memory_kb()
    with site.raw(pki.context(), receive_buffer=16384, timeout=60) as client:
        client.send(GET)
        head = client.head()
        assert len(head.read(MIB)) == MIB
        site.proxy.check_growth(before, 8 * 1024)
        assert len(head.read()) == size - MIB


@pytest.mark.parametrize("how", ["close", "close_notify", "reset"])
def test_a_client_that_leaves(stage: Stage, pki: Pki, server: Pair, how: str) -> None:
    left = threading.Event()
    origin = Origin(stage, lambda exchange: exchange.peer_closed(20) and left.set())
    site = TlsSite(stage, origin.address, server.config())
    with site.raw(pki.context()) as client:
        client.send(GET)
        until(lambda: origin.exchanges, "the request is with the app")
        if how == "reset":
            client.reset()
        elif how == "close_notify":
            client.sock.settimeout(0)
            with contextlib.suppress(OSError):
                client.sock.unwrap()
    assert left.wait(10), "the app sees it too"
    until(lambda: site.proxy.metric("skystitch_client_gone_total") == 1, "counted")


def test_a_client_that_takes_nothing_is_cut(stage: Stage, pki: Pki, server: Pair) -> None:
    origin = Origin(
        stage,
        lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n" + bytes(64 * MIB)),
    )
    site = TlsSite(stage, origin.address, server.config(), {"timeouts": {"write": "300ms"}})
    with site.raw(pki.context(), receive_buffer=16384) as client:
        client.send(GET)
        until(lambda: site.proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 1, "cut")


def test_an_answer_that_is_cut_has_no_clean_end(stage: Stage, pki: Pki, server: Pair) -> None:
    """HTTP/1.0 without a length: only the missing close_notify tells."""

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        exchange.close()

    site = TlsSite(stage, Origin(stage, answer, tcp=True).address, server.config())
    context = pki.context()
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    with site.raw(context) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            client.rest()


def test_a_refusal_reaches_a_client_that_still_sends(stage: Stage, pki: Pki, server: Pair) -> None:
    site = TlsSite(stage, Origin(stage).address, server.config(), {"limits": {"body": "1KiB"}})
    with site.raw(pki.context()) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n")
        client.send(bytes(MIB))
        answer, _ = client.response("POST")
        assert answer.status == 413
        assert client.rest() == b"", "and then a clean end"


@pytest.mark.parametrize("fresh", [False, True], ids=["kept connections", "a connection each"])
def test_stop_under_load(stage: Stage, pki: Pki, server: Pair, fresh: bool) -> None:
    collector = Collector(stage)
    site = TlsSite(stage, Origin(stage).address, server.config(), {"workers": 2}, collector=collector)
    load = Load(site.proxy.port, fresh=fresh, tls=pki.context())
    until(lambda: load.done > 200, "load")
    site.proxy.stop()
    load.join()
    assert load.failures == []
    assert set(load.statuses) == {200}
    collector.wait(load.done)


def test_a_running_request_is_finished_at_stop(stage: Stage, pki: Pki, server: Pair) -> None:
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(OK)

    origin = Origin(stage, wait)
    site = TlsSite(stage, origin.address, server.config())
    with site.raw(pki.context()) as client, site.raw(pki.context()) as idle:
        client.send(GET)
        until(lambda: origin.exchanges, "the request is with the app")
        site.proxy.signal(signal.SIGTERM)
        assert idle.rest() == b"", "an idle connection ends clean"
        go.set()
        answer, body = client.response()
        assert (answer.status, body, answer.headers["Connection"]) == (200, b"ok", "close")
    assert site.proxy.wait() == 0


@versions
def test_sessions_are_resumed(site: TlsSite, pki: Pki, version: ssl.TLSVersion) -> None:
    context = pki.context(version)
    session = None
    for resumed in False, True:
        with site.raw(context, session=session) as client:
            client.send(b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response()[0].status == 200
            assert client.sock.session_reused is resumed
            session = client.sock.session


def test_key_update(site: TlsSite) -> None:
    """K: with new keys for the client alone; k asks for new ones of the server too."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{site.proxy.port}", "-tls1_3"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        for said, heard in (
            (b"k\n", b"KEYUPDATE"),
            (b"K\n", b"KEYUPDATE"),
            (GET, b"HTTP/1.1 200"),
            (GET, b"HTTP/1.1 200"),
        ):
            child.stdin.write(said)
            child.stdin.flush()
            until(lambda heard=heard: heard in child.stdout.readline(), str(heard))
    finally:
        child.kill()
        child.communicate()


def head_of_http2() -> bytes:
    """What a client of HTTP/2 begins with, its first request included."""
    head = HeadersFrame(1, Encoder().encode([*get("/users/7")]), flags=["END_HEADERS", "END_STREAM"])
    return PREFACE + SettingsFrame(0).serialize() + head.serialize()


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_a_first_request_in_one_flight_with_the_handshake(
    site: TlsSite, pki: Pki, collector: Collector, protocol: str
) -> None:
    """TLS 1.3: the client's last message and its request come as one segment. It has a time, too."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = pki.context(ssl.TLSVersion.TLSv1_3)
    context.set_alpn_protocols([protocol])
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    collector.clear()
    before_ms = time.time() * 1000
    with socket.create_connection(("127.0.0.1", site.proxy.port), 10) as sock:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        request = b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n" if protocol == "http/1.1" else head_of_http2()
        client.write(request)
        sock.sendall(outgoing.read())
        answer = b""
        while b'{"id":7}\n' not in answer:
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while piece := client.read(65536):
                    answer += piece
    assert collector.one().entry.start_ms >= int(before_ms)


@pytest.mark.parametrize("port", ["on", 8443])
def test_redirect(stage: Stage, port: str | int) -> None:
    here = free_port()
    listen = [{"address": f"127.0.0.1:{here}", "redirect_https": port}]
    origin = Origin(stage)
    proxy = Skystitch(stage, origin.address, port=here, config={"listen": listen})
    there = "" if port == "on" else f":{port}"
    places = {
        b"GET /a%20b/?c=d&e HTTP/1.1\r\nHost: shop.test": f"https://shop.test{there}/a%20b/?c=d&e",
        b"GET / HTTP/1.1\r\nHost: shop.test:8080": f"https://shop.test{there}/",
        b"GET /v6 HTTP/1.1\r\nHost: [::1]:8080": f"https://[::1]{there}/v6",
        b"GET /v6 HTTP/1.1\r\nHost: [::1]": f"https://[::1]{there}/v6",
        b"OPTIONS * HTTP/1.1\r\nHost: shop.test": f"https://shop.test{there}/",
    }
    with proxy.raw() as client:
        for request, place in places.items():
            client.send(request + b"\r\n\r\n")
            answer, _ = client.response()
            assert (answer.status, answer.headers["Location"]) == (308, place)
        client.send(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(100000))
        answer, _ = client.response("POST")
        assert (answer.status, answer.headers["Location"]) == (308, f"https://a{there}/p")
        assert answer.headers["Connection"] == "close", "its body is not waited for"
    for nowhere in (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        with proxy.raw() as client:
            client.send(nowhere)
            assert client.head().status == 400
    assert origin.exchanges == []


def test_hsts(stage: Stage, pki: Pki, server: Pair) -> None:
    """In place of the app's, in answers of the app and of the proxy alike; without TLS none."""
    answer = OK.replace(b"\r\n\r\n", b"\r\nStrict-Transport-Security: max-age=1\r\n\r\n")
    secure, plain = free_port(), free_port()
    value = "max-age=31536000; includeSubDomains"
    listen = [
        {"address": f"127.0.0.1:{plain}"},
        {"address": f"127.0.0.1:{secure}", "tls": {**server.config(), "hsts": value}},
    ]
    Skystitch(stage, Origin(stage, answer).address, config={"listen": listen})
    with RawClient("127.0.0.1", secure, tls=pki.context()) as client:
        for request in GET, b"no request\r\n\r\n":
            client.send(request)
            assert client.response()[0].headers.get_all("Strict-Transport-Security") == [value]
    with RawClient("127.0.0.1", plain) as client:
        client.send(GET)
        assert client.response()[0].headers.get_all("Strict-Transport-Security") == ["max-age=1"]
