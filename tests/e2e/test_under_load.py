# SPDX-License-Identifier: Apache-2.0
"""HUP, USR2 and TERM while public clients of all kinds go on asking: no request fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Pki, Skystitch, Stage, free_port, until
from public_load import H2load, Wrk
from stream_load import StreamLoad
from succession import activated, gone, successor

#: The number of changes, in the short form and in the long one.
few = pytest.param(3, id="few")


def many(count: int, seconds: int) -> Any:
    return pytest.param(count, id=str(count), marks=[pytest.mark.matrix, pytest.mark.timeout(seconds)])


class Front:
    """Proxies before two apps, by a port with HTTP/1 and h2c and one with TLS."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.pki = Pki(stage.directory)
        tls = {"certificates": [self.pki.sign("localhost", "DNS:localhost").config()]}
        # Served by a skystitch each, since Python would be what limits the load.
        self.apps = [f"unix:{stage.path(f'app{i}.sock')}" for i in range(2)]
        for i, app in enumerate(self.apps):
            answer = {"path": "/", "return": {"status": 200, "body": f"app{i}"}}
            Skystitch(stage, app, name=f"app{i}", config={"listen": [{"address": app}], "routes": [answer]})
        self.port = self.tls_port = free_port()
        while self.tls_port == self.port:
            self.tls_port = free_port()
        self.listen = [
            {"address": f"127.0.0.1:{self.port}", "h2c": True},
            {"address": f"127.0.0.1:{self.tls_port}", "tls": tls},
        ]
        # More than a buffer's memory, and than a window of HTTP/2.
        self.body, self.post = stage.path("body"), stage.path("post.lua")
        self.body.write_bytes(bytes(100_000))
        self.post.write_text('wrk.method = "POST"\nwrk.body = string.rep("x", 100000)\n')
        self.config = {"listen": self.listen, "workers": 2, "local": {"max": "64KiB"}}

    def proxy(self, **options: Any) -> Skystitch:
        return Skystitch(self.stage, self.apps[0], port=self.port, config=self.config, **options)

    @contextlib.contextmanager
    def load(self, h2load_requests: int) -> Iterator[None]:
        urls = [f"http://127.0.0.1:{self.port}/", f"https://127.0.0.1:{self.tls_port}/"]
        loads: list[Wrk | H2load | StreamLoad] = []
        try:
            loads += [Wrk(url) for url in urls]
            loads += [Wrk(url, "-s", str(self.post), connections=2) for url in urls]
            loads += [H2load(url, requests=h2load_requests) for url in urls]
            loads += [H2load(url, "-d", str(self.body), requests=16, connections=2) for url in urls]
            loads.append(StreamLoad(self.port, connections=1))
            loads.append(StreamLoad(self.tls_port, tls=self.pki.context(), connections=1, stubborn=True))
            streams = loads[-1]
            until(lambda: isinstance(streams, StreamLoad) and streams.done > 100, "load")
            yield
            done = {f"{type(load).__name__} {i}": load.stop() for i, load in enumerate(loads)}
        finally:
            for load in loads:
                load.kill()
        print(done)
        assert all(done.values()), done


@pytest.mark.parametrize("count", [few, many(1000, 900)])
def test_reloads(stage: Stage, count: int) -> None:
    """Servers, certificates and a listener beside those under load change each time."""
    front = Front(stage)
    proxy = front.proxy()
    config = json.loads(proxy.config_path.read_text())
    other = {"address": f"127.0.0.1:{free_port()}"}
    with front.load(20 * max(count, 50)):
        grown = 0
        for turn in range(1, count + 1):
            if turn == 200:
                grown = proxy.memory_kb()
            config["upstreams"]["app"]["servers"] = [front.apps[turn % 2]]
            config["listen"] = [*front.listen, other] if turn % 10 == 0 else front.listen
            proxy.config_path.write_text(json.dumps(config))
            proxy.signal(signal.SIGHUP)
            until(lambda turn=turn: proxy.metric("skystitch_reloads_total", result="done") == turn, "a reload")
        if grown:
            proxy.check_growth(grown, 4096)
    assert proxy.metric("skystitch_reloads_total", result="refused") == 0


@pytest.mark.parametrize("count", [few, many(20, 600)])
def test_upgrades(stage: Stage, count: int) -> None:
    front = Front(stage)
    proxy = front.proxy()
    pid = proxy.pid
    # What a connection sends is what it has streams for: h2load asks for no more after GOAWAY.
    with front.load(32):
        for _ in range(count):
            os.kill(pid, signal.SIGUSR2)
            new = successor(proxy, pid)
            until(lambda pid=pid: gone(pid), "the end of the old one", 60)
            pid = new
    os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), "the end of the last one", 30)


@pytest.mark.parametrize("count", [few, many(20, 600)])
def test_stops(stage: Stage, count: int) -> None:
    """The next process has the same sockets by then, as under systemd."""
    front = Front(stage)
    sockets = [socket.create_server(("127.0.0.1", port), backlog=4096) for port in (front.port, front.tls_port)]
    with contextlib.ExitStack() as at_end:
        for one in sockets:
            at_end.enter_context(one)
        running = at_end.enter_context(contextlib.ExitStack())
        running.enter_context(activated(front.proxy(name="skystitch0", start=False), sockets))
        with front.load(32):
            for turn in range(1, count + 1):
                proxy = front.proxy(name=f"skystitch{turn}", start=False)
                with contextlib.ExitStack() as following:
                    following.enter_context(activated(proxy, sockets))
                    running.close()  # TERM, and its end
                    running.push(following.pop_all())
