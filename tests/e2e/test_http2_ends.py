# SPDX-License-Identifier: Apache-2.0
"""How streams and connections of HTTP/2 end: resets, clients that leave, broken answers, stop, timers."""

from __future__ import annotations

import json
import signal
import socket
import threading

from harness import Collector, Exchange, FrameClient, Origin, Pki, Stage, until
from harness.http2 import get
from http2_setting import (
    CANCEL,
    MIB,
    NO_ERROR,
    OK,
    Setting,
)


def test_client_resets_in_mid_request(stage: Stage) -> None:
    """The app's connection closes and is not used again; the span says that the client has left."""
    arrived, closed = threading.Semaphore(0), threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        if b"/slow" not in exchange.request_line:
            exchange.send(OK)
            return
        arrived.release()
        if exchange.peer_closed():
            closed.release()
        exchange.close()

    collector = Collector(stage)
    origin = Origin(stage, script)
    setting = Setting(stage, origin.address, collector=collector)
    with setting.client() as client:
        client.send(client.head(1, get("/slow")))
        assert arrived.acquire(timeout=20)
        client.send(client.reset(1))
        assert closed.acquire(timeout=20)
        assert client.request(3, get("/next")).body == b"ok"
    assert origin.exchanges[0].connection != origin.exchanges[1].connection
    assert setting.proxy.metric("skystitch_client_gone_total") == 1
    assert setting.proxy.metric("skystitch_http2_resets_total", by="client") == 1
    collector.one(lambda segment: segment.entry.operation == "GET:/slow")


def test_client_leaves(stage: Stage) -> None:
    arrived, closed = threading.Semaphore(0), threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        arrived.release()
        if exchange.peer_closed():
            closed.release()
        exchange.close()

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        client.send(*[client.head(stream, get()) for stream in (1, 3)])
        assert arrived.acquire(timeout=20)
        assert arrived.acquire(timeout=20)
    assert closed.acquire(timeout=20)
    assert closed.acquire(timeout=20)
    assert until(lambda: setting.proxy.metric("skystitch_client_gone_total") == 2, "both are counted")


def test_app_cuts_its_answer(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        exchange.close()

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as client:
        answer = client.request(1, get())
        assert answer.body == b"x" * 50
        assert not answer.ended
        assert answer.reset == 2
    assert setting.proxy.metric("skystitch_responses_cut_total", reason="upstream") == 1
    assert setting.proxy.metric("skystitch_client_gone_total") == 0


def test_stop(stage: Stage) -> None:
    """Two GOAWAY; what is under way comes to its end, what comes between them too, then the end."""
    hold = threading.Event()
    arrived = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        arrived.release()
        hold.wait(30)
        exchange.send(OK)

    setting = Setting(stage, Origin(stage, script).address)
    with setting.client() as idle, setting.client() as client:
        idle.ping()
        client.send(client.head(1, get()))
        assert arrived.acquire(timeout=20)
        setting.proxy.signal(signal.SIGTERM)
        client.until(lambda: len(client.goaways) == 1, "the first GOAWAY")
        assert client.goaways[0].last_stream_id == 2**31 - 1
        client.send(client.head(3, get()))
        assert arrived.acquire(timeout=20)
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        assert client.goaways[1].last_stream_id == 3
        assert client.goaways[1].error_code == NO_ERROR
        hold.set()
        assert [client.answer(stream).body for stream in (1, 3)] == [b"ok", b"ok"]
        client.until_closed()
        idle.until_closed()
        assert [frame.last_stream_id for frame in idle.goaways] == [0]
    assert setting.proxy.wait(20) == 0


def test_a_client_that_was_let_in_just_before_the_stop(stage: Stage) -> None:
    """It gets its first requests in: a client that hears GOAWAY before them may begin none."""
    pki = Pki(stage.directory)
    setting = Setting(stage, Origin(stage).address, pki.sign("localhost", "DNS:localhost"))
    with (
        socket.create_connection(("127.0.0.1", setting.port), 20) as plain,
        socket.create_connection(("127.0.0.1", setting.tls_port), 20) as tls,
    ):
        until(lambda: setting.proxy.metric("skystitch_connections") == 2, "both are accepted")
        setting.proxy.signal(signal.SIGTERM)
        until(lambda: setting.proxy.admin("/readyz").status_code == 503, "it stops")
        clients = [FrameClient(sock=plain), FrameClient(sock=tls, tls=pki.context())]
        for client in clients:
            client.ping()
            assert client.goaways == []
            assert client.request(1, get()).body == b"ok"
        for client in clients:
            client.until_closed()
            assert [frame.last_stream_id for frame in client.goaways] == [2**31 - 1, 1]
    assert setting.proxy.wait(20) == 0


def test_timers(stage: Stage) -> None:
    timeouts = {"header": "200ms", "body": "200ms", "write": "200ms"}
    size = MIB
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    setting = Setting(stage, origin.address, config={"timeouts": timeouts})
    with setting.client() as client:  # half a head
        client.ping()
        client.send(client.block(1, b"\x82", end=True).replace(b"\x01\x05", b"\x01\x01", 1))
        client.until_closed()
    assert setting.refused("head_timeout") == 1
    with setting.client() as client:  # half a body
        client.send(client.head(1, get(method="POST"), end=False), client.data(1, b"x"))
        assert client.answer(1).status == 408
        client.send(client.head(3, get(method="POST"), end=False))
        assert client.answer(3).status == 408
    assert setting.refused("body_timeout") == 2
    with setting.client(window=1000) as client:  # no window
        client.send(client.head(1, get()))
        assert client.answer(1).reset == CANCEL
    assert setting.proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 1


def test_idle_timeout(stage: Stage) -> None:
    setting = Setting(stage, Origin(stage).address, config={"timeouts": {"idle": "300ms"}})
    with setting.client() as client:
        client.until_closed()
        assert [goaway.error_code for goaway in client.goaways] == [NO_ERROR]


def test_client_that_reads_nothing(stage: Stage) -> None:
    """Its windows are open, its socket is full."""
    size = 32 * MIB
    origin = Origin(stage, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    setting = Setting(stage, origin.address, config={"timeouts": {"write": "300ms"}})
    with setting.client(window=(1 << 31) - 1 - 65535) as client:
        client.send(client.head(1, get()))
        until(lambda: setting.proxy.metric("skystitch_responses_cut_total", reason="write_timeout") == 1, "the cut")
        client.until_closed()
        assert len(client.answers[1].body) < size


def test_fields_outlive_their_configuration(stage: Stage) -> None:
    """An answer waits behind another one, which the client does not read, while reloads take place."""
    go = threading.Event()

    def script(exchange: Exchange) -> None:
        if b"/slow" in exchange.request_line:
            assert go.wait(20)
            exchange.send(OK)
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB) + bytes(64 * MIB))

    origin, pki = Origin(stage, script), Pki(stage.directory)
    setting = Setting(stage, origin.address, pki.sign("server", "DNS:localhost"))
    proxy = setting.proxy

    def reload() -> None:
        done = proxy.metric("skystitch_reloads_total", result="done")
        proxy.signal(signal.SIGHUP)
        until(lambda: proxy.metric("skystitch_reloads_total", result="done") > done, "the reload")

    def answered() -> float:
        return proxy.metric("skystitch_responses_total", **{"class": "2xx"})

    config = json.loads(proxy.config_path.read_text())
    config["listen"][1]["tls"]["hsts"] = "max-age=" + "1" * 100
    proxy.config_path.write_text(json.dumps(config))
    with FrameClient(setting.tls_port, tls=pki.context(), window=1 << 30) as client:
        client.send(client.head(1, get("/slow")), client.head(3, get()))
        until(lambda: answered() == 1 and len(origin.exchanges) == 2, "one answer has begun")
        reload()
        go.set()
        until(lambda: answered() == 2, "the other one too")
        reload()
        assert client.answer(1).heads[-1]["strict-transport-security"].startswith("max-age=1")


def test_stop_while_it_drains(stage: Stage) -> None:
    """Both say GOAWAY to a connection whose request runs; it is finished all the same."""
    go = threading.Event()

    def script(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(OK)

    origin = Origin(stage, script)
    setting = Setting(stage, origin.address, config={"timeouts": {"drain_delay": "0"}})
    with setting.client() as client:
        client.send(client.head(1, get()))
        until(lambda: origin.exchanges, "the app has the request")
        setting.proxy.admin("/drain", "POST", headers={"X-Skystitch": "1"})
        client.until(lambda: bool(client.goaways), "GOAWAY")
        setting.proxy.signal(signal.SIGTERM)
        until(lambda: "stop: listeners close" in setting.proxy.log(), "the stop")
        go.set()
        assert client.answer(1).status == 200
    assert setting.proxy.wait() == 0
