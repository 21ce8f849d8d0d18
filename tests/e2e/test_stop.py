# SPDX-License-Identifier: Apache-2.0
"""TERM and INT: what runs is finished, what was seen is reported, the status is 0."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import Collector, Exchange, Origin, RawClient, Skystitch, Stage, until
from load import Load

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("fresh", [False, True], ids=["kept connections", "a connection each"])
def test_under_load(stage: Stage, fresh: bool) -> None:
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config={"workers": 2})
    load = Load(proxy.port, fresh=fresh)
    until(lambda: load.done > 200, "load")
    proxy.stop()
    load.join()
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert load.refused == 4, "every client was refused in the end"
    collector.wait(load.done)
    assert len({segment.id for segment in collector.segments}) == load.done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(stage: Stage, number: int) -> None:
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(OK)

    collector = Collector(stage)
    origin = Origin(stage, wait)
    proxy = Skystitch(stage, origin.address, collector=collector)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(proxy.session.get, f"{proxy.url}/users/7", timeout=20)
        until(lambda: origin.exchanges, "the request is with the app")
        proxy.signal(number)
        until(lambda: refuses(proxy.port), "no more connections are taken")
        assert proxy.alive()
        go.set()
        response = answer.result()
    assert response.text == "ok"
    assert response.headers["Connection"] == "close"
    assert proxy.wait() == 0
    assert len(collector.wait(1)) == 1


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_not_ready_while_it_stops(stage: Stage) -> None:
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(OK)

    origin = Origin(stage, wait)
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the request is with the app")
        proxy.signal(signal.SIGTERM)
        until(lambda: proxy.admin("/readyz").status_code == 503, "not ready")
        assert proxy.admin("/livez").status_code == 200
        go.set()
        assert client.response()[0].status == 200
    assert proxy.wait() == 0


def test_idle_connections_do_not_hold_it(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    with proxy.raw() as used, proxy.raw() as fresh, RawClient("127.0.0.1", proxy.admin_port) as admin:
        used.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        used.response()
        began = time.monotonic()
        proxy.stop()
        assert time.monotonic() - began < 10
        assert used.closed()
        assert fresh.closed()
        assert admin.closed()


def test_a_request_that_never_ends_is_cut(stage: Stage) -> None:
    collector = Collector(stage)
    origin = Origin(stage, lambda exchange: exchange.peer_closed(60) and None)
    proxy = Skystitch(stage, origin.address, collector=collector, config={"timeouts": {"stop": "300ms"}})
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the request is with the app")
        proxy.stop()
    assert collector.one().entry.error


def test_quit_stops_at_once(stage: Stage) -> None:
    origin = Origin(stage, lambda exchange: exchange.peer_closed(60) and None)
    proxy = Skystitch(stage, origin.address)
    with proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the request is with the app")
        proxy.signal(signal.SIGQUIT)
        assert proxy.wait(10) == 0


@pytest.mark.parametrize("which", ["port", "admin_port"])
def test_a_port_that_is_taken(stage: Stage, which: str) -> None:
    """Also by a process that shares its ports itself."""
    first = Skystitch(stage, Origin(stage).address, name="first", config={"workers": 2})
    second = Skystitch(stage, "127.0.0.1:1", name="second", start=False, **{which: getattr(first, which)})
    second.spawn()
    assert second.wait(20) == 1
    lines = [line for line in second.log().splitlines() if "in use" in line]
    assert len(lines) == 1, second.log()
    assert f"127.0.0.1:{getattr(first, which)}" in lines[0]


def test_without_standard_descriptors(stage: Stage) -> None:
    """Nothing of its own gets their numbers, where it would be sent what is meant for the log."""
    proxy = Skystitch(stage, Origin(stage).address, config={"log": {"access": "stdout"}}, start=False)
    proxy.argv = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *proxy.argv]
    proxy.start()
    assert proxy.get("/").status_code == 200
    for number in range(3):
        assert Path(f"/proc/{proxy.pid}/fd/{number}").readlink() == Path("/dev/null")


def test_a_unix_listener(stage: Stage) -> None:
    """It serves, its file goes at the end, and a dead file of before is no hindrance."""
    path = stage.path("front.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": [{"address": f"unix:{path}"}], "workers": 2})
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    proxy.stop()
    assert not path.exists()


def test_the_next_process_at_a_unix_listener(stage: Stage) -> None:
    """The name is free as soon as nobody is taken there, though a request still runs."""
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(OK)

    path, origin = stage.path("front.sock"), Origin(stage, wait)
    config = {"listen": [{"address": f"unix:{path}"}]}
    first = Skystitch(stage, origin.address, name="first", config=config)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the request is with the app")
        first.signal(signal.SIGTERM)
        until(lambda: not path.exists(), "the name is free")
        Skystitch(stage, origin.address, name="second", config=config)
        go.set()
        client.settimeout(10)
        assert client.recv(64).startswith(b"HTTP/1.1 200")
    assert first.wait() == 0
    assert path.exists(), "the next one listens there"
