# SPDX-License-Identifier: Apache-2.0
"""The app goes on while its proxy stops reading, is killed, comes back or is replaced; so does the stitching."""

from __future__ import annotations

import http.client
import os
import signal
from typing import Any

import pytest

from expect import FLASK, check_log
from harness import Collector, Gunicorn, Segment, Skystitch, Stage, until
from harness.server import Server
from load import Load
from test_upgrade import end, gone, successor

WORKERS: dict[str, dict[str, Any]] = {
    "sync": {"worker_class": "sync"},
    "gthread": {"worker_class": "gthread"},
    "gevent": {"worker_class": "gevent"},
    "asyncio": {},
    "restarts": {"worker_class": "gthread", "workers": 2, "options": ["--max-requests", "3"]},
}
FASTAPI = 7014


class Asyncio(Server):
    """The same for FastAPI under uvicorn as there is for Flask under gunicorn."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, "uvicorn", "servers_fastapi:app")

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)


class Site:
    def __init__(self, stage: Stage, **gunicorn) -> None:
        self.stage = stage
        self.collector = Collector(stage)
        self.app = Gunicorn(stage, "flask_app:app", **gunicorn) if gunicorn else Asyncio(stage)
        self.component = FLASK if gunicorn else FASTAPI
        self.rule = "GET:/boom/<word>" if gunicorn else "GET:/boom/{word}"
        self.proxy = self.add_proxy("first")

    def add_proxy(self, name: str) -> Skystitch:
        return Skystitch(self.stage, self.app.address, name=name, service=name, collector=self.collector)

    def boom(self, proxy: Skystitch, word: str) -> Segment:
        """A request whose exception reaches the proxy by the channel."""
        assert proxy.get(f"/boom/{word}").status_code == 500
        return self.collector.one(lambda segment: segment.path() == f"/boom/{word}")

    def check_stitched(self, proxy: Skystitch, word: str) -> None:
        segment = self.boom(proxy, word)
        assert segment.service == proxy.service
        self.check(segment, word)

    def check(self, segment: Segment, word: str) -> None:
        assert segment.entry.component == self.component
        assert segment.entry.operation == self.rule
        check_log(segment.span(1), "ValueError")
        assert segment.span(1).logs[0].data["message"] == f"no such word: {word}"

    def trace_headers(self) -> dict[str, str]:
        """What the proxy sends to the app."""
        seen = dict(self.proxy.get("/echo").json()["headers"])
        return {name: value for name, value in seen.items() if name.lower().startswith("sw8")}

    def ask_directly(self, headers: dict[str, str], count: int) -> int:
        """Requests past the proxy that bear its headers. How many messages the app says it has lost."""
        lost = 0
        for _ in range(count):
            connection = self.app.connection()
            connection.request("GET", "/boom/direct", headers=headers)
            response = connection.getresponse()
            response.read()  # a sync worker waits for the connection's end
            assert response.status == 500
            more = response.headers["sw8-stitch"].split(";")[4]
            lost += int(more.partition("!")[2] or 0)
            connection.close()
        return lost

    def check_quiet(self) -> None:
        """The app's log knows of nothing but its own exceptions."""
        log = self.app.log()
        assert "skystitch" not in log
        for wrong in ("BrokenPipe", "ConnectionRefused", "BlockingIO", "ConnectionReset"):
            assert wrong not in log


MATRIX = ["sync", "gevent", "asyncio"]


@pytest.fixture(params=["gthread", *(pytest.param(name, marks=pytest.mark.matrix) for name in MATRIX)])
def site(stage: Stage, request: pytest.FixtureRequest) -> Site:
    return Site(stage, **WORKERS[request.param])


def test_killed_and_started_again(site: Site) -> None:
    site.check_stitched(site.proxy, "before")
    headers = site.trace_headers()
    site.proxy.kill()
    site.proxy.child = None  # it has ended as it was to
    assert site.ask_directly(headers, 5) == 5
    second = site.add_proxy("second")
    site.check_stitched(second, "after")
    site.check_stitched(second, "again")
    site.check_quiet()


def test_two_at_once(site: Site) -> None:
    """As while one takes over from the other."""
    second = site.add_proxy("second")
    for number in range(3):
        site.check_stitched(site.proxy, f"first{number}")
        site.check_stitched(second, f"second{number}")
    site.proxy.stop()
    site.check_stitched(second, "alone")
    site.check_quiet()
    assert second.metric("skystitch_stitch_lost_total") == 0


def test_stopped_for_a_while(site: Site) -> None:
    """Its channel fills: what finds no room is lost and counted, no request waits."""
    site.check_stitched(site.proxy, "before")
    headers = site.trace_headers()
    os.kill(site.proxy.pid, signal.SIGSTOP)
    try:
        assert 0 < site.ask_directly(headers, 300) < 300
    finally:
        os.kill(site.proxy.pid, signal.SIGCONT)
    site.check_stitched(site.proxy, "after")
    site.check_stitched(site.proxy, "again")
    site.check_quiet()


def test_replaced_under_load(site: Site) -> None:
    """By USR2, twice: each request is answered, and each segment is whole."""
    load = Load(site.proxy.port, "/boom/load", clients=2)
    pid = site.proxy.pid
    for _ in range(2):
        done = load.done
        until(lambda done=done: load.done > done + 20, "load")
        os.kill(pid, signal.SIGUSR2)
        new = successor(site.proxy, pid)
        until(lambda pid=pid: gone(pid), "the end of the old one", 30)
        pid = new
    done = load.done
    until(lambda: load.done > done + 20, "load with the last one")
    load.stop()
    assert load.failures == []
    assert set(load.statuses) == {500}
    segments = site.collector.wait(load.done)
    assert len(segments) == load.done
    for segment in segments:
        site.check(segment, "load")
        assert not segment.size_limited
    end(pid)
    assert site.proxy.wait() == 0
    site.check_quiet()


def test_workers_that_are_replaced(stage: Stage) -> None:
    site = Site(stage, **WORKERS["restarts"])
    pids = set()
    for number in range(9):
        site.check_stitched(site.proxy, f"word{number}")
        pids.update(site.app.worker_pids())
    assert len(pids) > 2
    site.check_quiet()
