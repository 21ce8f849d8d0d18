# SPDX-License-Identifier: Apache-2.0
"""TLS to the servers of an upstream: whom it trusts, what it says when it does not, and its bytes."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness import Collector, Gunicorn, Origin, Pair, Pki, Skystitch, Stage, TlsOrigin, run, until
from load import Load

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def pki(module_stage: Stage) -> Pki:
    return Pki(module_stage.directory)


@pytest.fixture(scope="module")
def pair(pki: Pki) -> Pair:
    return pki.sign("app", "DNS:app.test", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture
def collector(stage: Stage) -> Iterator[Collector]:
    return Collector(stage)


def proxy_to(stage: Stage, address: str, tls: dict[str, Any], **options: Any) -> Skystitch:
    config = {"upstreams": {"app": {"servers": [address], "tls": tls}}, **options.pop("config", {})}
    return Skystitch(stage, [], config=config, **options)


def known(pki: Pki) -> dict[str, Any]:
    return {"ca": str(pki.authority.certificate)}


@pytest.mark.parametrize("version", VERSIONS)
def test_good(stage: Stage, pki: Pki, pair: Pair, collector: Collector, version: ssl.TLSVersion) -> None:
    origin = TlsOrigin(stage, pair, version=version)
    proxy = proxy_to(stage, origin.address("localhost"), known(pki), collector=collector)
    assert [proxy.get("/").text for _ in range(3)] == ["ok"] * 3
    assert origin.connections == 1
    assert origin.names == ["localhost"]
    assert collector.wait(3)[0].entry.tag("http.status_code") == "200"


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_taken_up_again(stage: Stage, pki: Pki, pair: Pair, version: ssl.TLSVersion) -> None:
    origin = TlsOrigin(stage, pair, version=version)
    timeouts = {"timeouts": {"upstream_idle": "0ms"}}
    proxy = proxy_to(stage, origin.address(), known(pki), config=timeouts)
    for _ in range(4):
        assert proxy.get("/").status_code == 200
    assert (origin.connections, origin.resumed) == (4, 3)
    assert set(origin.names) == {None}  # an address is no name
    assert proxy.metric("skystitch_upstream_tls_handshakes_total", session="resumed") == 3


def test_a_name_of_its_own(stage: Stage, pki: Pki, pair: Pair) -> None:
    other = pki.sign("other", "DNS:other.test")
    origin = TlsOrigin(stage, other)
    proxy = proxy_to(stage, origin.address(), {**known(pki), "server_name": "other.test"})
    assert proxy.get("/").text == "ok"
    assert origin.names == ["other.test"]


def expired(pki: Pki) -> Pair:
    pair = Pair(pki.directory / "old.pem", pki.directory / "old.key")
    request, extensions = pki.directory / "old.csr", pki.directory / "old.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pair.key]
    subprocess.run(["openssl", "req", *key, "-subj", "/CN=old", "-out", request], check=True, capture_output=True)
    signer = ["-CA", pki.authority.certificate, "-CAkey", pki.authority.key, "-CAcreateserial", "-days", "-1"]
    command = ["openssl", "x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", pair.certificate]
    subprocess.run(command, check=True, capture_output=True)
    return pair


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("tls_expired", "certificate expired"),
        ("tls_name", "certificate of another name"),
        ("tls_unknown_ca", "certificate of an unknown issuer"),
    ],
)
def test_a_certificate_that_will_not_do(
    stage: Stage, pki: Pki, pair: Pair, collector: Collector, reason: str, failure: str
) -> None:
    tls = known(pki)
    if reason == "tls_expired":
        pair = expired(pki)
    elif reason == "tls_name":
        tls["server_name"] = "elsewhere.test"
    else:
        tls = {}  # the system's roots
    origin = TlsOrigin(stage, pair)
    proxy = proxy_to(stage, origin.address(), tls, collector=collector)
    response = proxy.get("/")
    assert response.status_code == 502
    assert "certificate" in response.text
    assert "127.0.0.1" not in response.text
    assert proxy.metric("skystitch_failures_total", reason=reason) == 1
    assert collector.one().entry.tag("failure") == failure
    assert "no TLS with" in proxy.log()
    insecure = proxy_to(stage, origin.address(), {**tls, "verify": "off"}, name="insecure")
    assert insecure.get("/").text == "ok"


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates(stage: Stage, pki: Pki, pair: Pair, version: ssl.TLSVersion) -> None:
    ours = pki.sign("proxy")
    origin = TlsOrigin(stage, pair, version=version, client_ca=pki.authority)
    tls = {**known(pki), "certificate": str(ours.certificate), "key": str(ours.key)}
    assert proxy_to(stage, origin.address(), tls).get("/").text == "ok"
    assert "proxy" in str(origin.peers[0])
    without = proxy_to(stage, origin.address(), known(pki), name="without")
    assert without.get("/").status_code == 502
    assert without.metric("skystitch_failures_total", reason="tls_refused") == 1


def test_a_plain_port(stage: Stage, pki: Pki) -> None:
    app = Gunicorn(stage, "flask_app:app", tcp=True)
    proxy = proxy_to(stage, f"https://{app.address}", known(pki))
    assert proxy.get("/").status_code == 502
    assert proxy.metric("skystitch_failures_total", reason="tls_handshake") == 1


def test_who_says_nothing_is_given_up(stage: Stage, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}"
        proxy = proxy_to(stage, address, known(pki), config={"timeouts": {"connect": "200ms"}})
        assert proxy.get("/").status_code == 504
    assert proxy.metric("skystitch_failures_total", reason="connect_timeout") == 1


def test_bodies_both_ways(stage: Stage, pki: Pki, pair: Pair) -> None:
    """Larger than records, socket buffers and what the proxy holds; read slowly at the end."""

    def mirror(sock: ssl.SSLSocket, request: bytes) -> None:
        body = request.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origin = TlsOrigin(stage, pair, mirror)
    proxy = proxy_to(stage, origin.address(), known(pki))
    body = bytes(range(256)) * 40000
    with ThreadPoolExecutor(3) as pool:
        for answer in pool.map(lambda _: proxy.request("POST", "/", data=body), range(3)):
            assert hashlib.sha256(answer.content).digest() == hashlib.sha256(body).digest()
    slow = proxy.request("POST", "/", data=body, stream=True)
    parts = [slow.raw.read(300000)]
    before = proxy.memory_kb()
    threading.Event().wait(0.2)
    proxy.check_growth(before, 4096)
    while part := slow.raw.read(300000):
        parts.append(part)
    assert b"".join(parts) == body
    for size in (0, 1, 16383, 16384, 16385, 65536):
        assert proxy.request("POST", "/", data=body[:size]).content == body[:size]


@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "cut"])
def test_an_answer_that_ends_with_the_connection(stage: Stage, pki: Pki, pair: Pair, clean: bool) -> None:
    """Without close_notify nobody knows whether it is whole (RFC 9112, 9.8)."""
    ended = threading.Event()

    def until_the_end(sock: ssl.SSLSocket, request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if clean:
            sock.unwrap()
        else:
            sock.shutdown(2)
        ended.set()
        raise ConnectionAbortedError

    origin = TlsOrigin(stage, pair, until_the_end)
    proxy = proxy_to(stage, origin.address(), known(pki))
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = client.head()
        if clean:
            assert answer.read() == b"all of it"
        else:
            with pytest.raises(Exception, match=r"IncompleteRead|incomplete"):
                answer.read()
    cut = proxy.metric("skystitch_failures_total", reason="cut")
    assert cut == (0 if clean else 1)


@pytest.mark.timeout(30)
def test_websocket_through_tls(stage: Stage, pki: Pki, pair: Pair) -> None:
    def echo(sock: ssl.SSLSocket, request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := sock.recv(65536):
            sock.sendall(data)
        raise ConnectionAbortedError

    origin = TlsOrigin(stage, pair, echo)
    proxy = proxy_to(stage, origin.address(), known(pki))
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert b"101" in client.sock.recv(12)
        until(lambda: b"\r\n\r\n" in client.sock.recv(4096), "the head is over")
        data = bytes(range(256)) * 4000
        threading.Thread(target=client.sock.sendall, args=(data,), daemon=True).start()
        got = b""
        while len(got) < len(data):
            got += client.sock.recv(65536)
        assert got == data


def test_a_reload_reads_the_files_again(stage: Stage, pki: Pki, pair: Pair) -> None:
    ca = stage.path("ca.pem")
    ca.write_bytes(Pki(stage.directory, "stranger").authority.certificate.read_bytes())
    proxy = proxy_to(stage, TlsOrigin(stage, pair).address(), {"ca": str(ca)})
    assert proxy.get("/").status_code == 502
    ca.write_text("nothing")
    proxy.signal(signal.SIGHUP)
    until(lambda: "the running configuration stays" in proxy.log(), "the reload is refused")
    assert "upstreams.app.tls: ca /" in proxy.log()
    ca.write_bytes(pki.authority.certificate.read_bytes())
    proxy.signal(signal.SIGHUP)
    until(lambda: proxy.get("/").status_code == 200, "the new authority is known")


def test_reloads_under_load(stage: Stage, pki: Pki, pair: Pair, collector: Collector) -> None:
    """Servers come and go, with another authority, with none, and without TLS."""
    authorities = stage.path("ca.pem")
    one, other = (TlsOrigin(stage, pair, name=f"origin{i}", version=version) for i, version in enumerate(VERSIONS))
    plain = Origin(stage, tcp=True)
    tls = {"ca": str(authorities)}
    upstreams = [
        {"servers": [one.address()], "tls": tls},
        {"servers": [one.address(), other.address()], "tls": tls},
        {"servers": [other.address()], "tls": {"verify": "off"}},
        {"servers": [plain.address]},
    ]
    authorities.write_bytes(pki.authority.certificate.read_bytes())
    proxy = Skystitch(stage, [], collector=collector, config={"upstreams": {"app": upstreams[0]}, "workers": 2})
    config = json.loads(proxy.config_path.read_text())
    load = Load(proxy.port)
    for turn in range(1, 25):
        done = load.done
        if turn % 5 == 0:
            stranger = Pki(stage.directory, f"stranger{turn}").authority.certificate.read_bytes()
            authorities.write_bytes(pki.authority.certificate.read_bytes() + stranger)
        config["upstreams"]["app"] = upstreams[turn % 4]
        proxy.config_path.write_text(json.dumps(config))
        proxy.signal(signal.SIGHUP)
        until(lambda turn=turn: proxy.metric("skystitch_reloads_total", result="done") == turn, "a reload")
        until(lambda done=done: load.done > done + 20, "it serves")
    load.stop()
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert all(origin.connections for origin in (one, other, plain))
    collector.wait(load.done)


@pytest.mark.parametrize(
    ("member", "said"), [("ca", "tls: ca /"), ("certificate", "tls: certificate /"), ("key", "tls: key /")]
)
def test_files_are_read_at_the_start(stage: Stage, pki: Pki, pair: Pair, member: str, said: str) -> None:
    tls = {"ca": str(pki.authority.certificate), "certificate": str(pair.certificate), "key": str(pair.key)}
    tls[member] = str(stage.path("none.pem"))
    proxy = Skystitch(stage, [], config={"upstreams": {"app": {"servers": ["a:1"], "tls": tls}}}, start=False)
    for arguments, status in ((["--check"], 2), ([], 1)):
        done = run("--config", str(proxy.config_path), *arguments)
        assert done.returncode == status
        assert f"upstreams.app.{said}" in done.stderr
