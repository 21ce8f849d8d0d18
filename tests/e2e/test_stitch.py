# SPDX-License-Identifier: Apache-2.0
"""How the helper's part comes to the proxy: each channel, each way to run the app, and when it does not come."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from expect import FLASK, Expected, check, check_log
from harness import Collector, Exchange, Gunicorn, Origin, Site, Skystitch, Stage, until

BOOM = Expected(500, "GET:/boom/<word>", "flask_app.boom", "ValueError", failed=True)


def check_boom(site: Site) -> None:
    """An exception, the route and the handler come whole."""
    _, segment = site.get("/boom/x")
    check(site, segment, "GET", "/boom/x", FLASK, BOOM)


def check_header_alone(site: Site) -> None:
    """Route and handler come by the header, the exception does not."""
    _, segment = site.get("/boom/x")
    assert segment.entry.operation == "GET:/boom/<word>"
    assert segment.entry.component == FLASK
    assert segment.entry.error
    assert [log for span in segment.spans for log in span.logs] == []


def test_directory(stage: Stage) -> None:
    """For containers that share a volume: a socket file, seen by the app under a path of its own."""
    directory, mounted = stage.path("channel"), stage.path("mounted")
    directory.mkdir()
    mounted.symlink_to(directory)
    site = Site(
        stage,
        "flask_app:app",
        config={"stitch": {"channel": str(directory)}},
        env={"SKYSTITCH_CHANNEL_DIR": str(mounted)},
        tcp=True,
    )
    check_boom(site)
    files = list(directory.iterdir())
    assert len(files) == 1
    assert str(site.proxy.pid) in files[0].name
    assert files[0].stat().st_mode & 0o007 == 0
    site.proxy.stop()
    assert list(directory.iterdir()) == []


def test_off(stage: Stage) -> None:
    site = Site(stage, "flask_app:app", config={"stitch": {"channel": "off"}})
    check_header_alone(site)


def test_token(stage: Stage) -> None:
    """Without a channel, with a secret that both know: the part comes in a second header of the answer."""
    site = Site(
        stage,
        "flask_app:app",
        config={"stitch": {"channel": "off", "token": "s3cret"}},
        env={"SKYSTITCH_TOKEN": "s3cret"},
    )
    _, segment = site.get("/boom/x")
    check_log(segment.span(1), "ValueError")


def test_two_tokens_that_differ(stage: Stage) -> None:
    site = Site(
        stage,
        "flask_app:app",
        config={"stitch": {"channel": "off", "token": "s3cret"}},
        env={"SKYSTITCH_TOKEN": "another"},
    )
    check_header_alone(site)


def test_a_proxy_of_another_user(stage: Stage) -> None:
    """The helper tells it route and times, and the rest when SKYSTITCH_PROXY_UID allows it."""
    if os.getuid() != 0:
        pytest.skip("needs root to run the proxy as somebody else")
    stage.directory.chmod(0o755)
    for allowed in ("", "65534"):
        collector = Collector(stage)
        app = Gunicorn(stage, "flask_app:app", name=f"app{allowed}", env={"SKYSTITCH_PROXY_UID": allowed}, tcp=True)
        proxy = Skystitch(stage, app.address, name=f"proxy{allowed}", collector=collector, user=65534)
        assert proxy.get("/boom/x").status_code == 500
        segment = collector.one()
        assert segment.entry.operation == "GET:/boom/<word>"
        assert bool(segment.span(1).logs) == bool(allowed)


@pytest.mark.parametrize("preload", [False, True])
def test_several_processes(stage: Stage, preload: bool) -> None:
    """Each worker process has a connection of its own, also when the agent was started before the fork."""
    site = Site(stage, "flask_app:app", workers=3, options=["--preload"] if preload else [])
    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda n: site.proxy.get(f"/boom/{n}").status_code, range(60)))
    assert statuses == {500}
    segments = site.collector.wait(60)
    assert {segment.span(1).logs[0].data["message"] for segment in segments} == {
        f"no such word: {n}" for n in range(60)
    }


def test_several_workers_of_the_proxy(stage: Stage) -> None:
    """Each of them has its channel: every part finds the thread that waits for it."""
    site = Site(stage, "flask_app:app", worker_class="gthread", config={"workers": 4})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: site.proxy.get(f"/boom/{n}"), range(60)))
    for segment in site.collector.wait(60):
        check_log(segment.span(1), "ValueError")
    assert site.proxy.metric("skystitch_stitch_messages_total", result="unknown") == 0


def test_the_proxy_is_started_anew(stage: Stage) -> None:
    """The app goes on; its helper finds the new channel with the first request."""
    collector = Collector(stage)
    app = Gunicorn(stage, "flask_app:app")
    for name in ("first", "second"):
        proxy = Skystitch(stage, app.address, name=name, service=name, collector=collector)
        for _ in range(3):
            assert proxy.get("/boom/x").status_code == 500
        for segment in collector.wait(3, lambda segment, name=name: segment.service == name):
            check_log(segment.span(1), "ValueError")
        proxy.stop()


def test_the_app_is_started_anew(stage: Stage) -> None:
    site = Site(stage, "flask_app:app")
    check_boom(site)
    site.app.signal(signal.SIGHUP)
    before = site.app.worker_pids()
    until(lambda: (now := site.app.worker_pids()) and not set(now) & set(before), "gunicorn has new workers")
    check_boom(site)


def announce(more: str) -> bytes:
    field = f"sw8-stitch: 1;7001;10;20;{more};shop.view;GET:/promised\r\n".encode()
    return b"HTTP/1.1 200 OK\r\n" + field + b"Content-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("more", ["1", "+"])
def test_a_promise_that_is_not_kept(stage: Stage, more: str) -> None:
    """The segment waits for stitch.hold, no longer; the answer does not wait at all."""
    collector = Collector(stage)
    config = {"stitch": {"hold": "1500ms"}}
    proxy = Skystitch(stage, Origin(stage, announce(more)).address, collector=collector, config=config)
    began = time.monotonic()
    assert proxy.get("/").text == "ok"
    answered = time.monotonic() - began
    segment = collector.one()
    waited = time.monotonic() - began
    assert answered < 1.5 <= waited
    assert segment.entry.operation == "GET:/promised"
    assert segment.size_limited
    assert proxy.metric("skystitch_stitch_holds_failed_total", reason="timeout") == 1


UNREADABLE = {
    "empty": b"",
    "garbage": b"what?",
    "another version": b"2;7001;10;20;0;shop.view;GET:/x",
    "a field too few": b"1;7001;10;20;0;shop.view",
    "no number": b"1;flask;10;20;0;shop.view;GET:/x",
    "negative": b"1;7001;-10;20;0;shop.view;GET:/x",
    "overflow": b"1;7001;99999999999999999999;20;0;shop.view;GET:/x",
    "bad escape": b"1;7001;10;20;0;shop.view;GET:/%zz",
    "too long": b"1;7001;10;20;0;shop.view;GET:/" + b"x" * 600,
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_header(stage: Stage, kind: str) -> None:
    """It counts as none; the request is served, its segment made without the app's part."""
    answer = b"HTTP/1.1 200 OK\r\nsw8-stitch: " + UNREADABLE[kind] + b"\r\nContent-Length: 2\r\n\r\nok"
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage, answer).address, collector=collector)
    assert proxy.get("/users/7").text == "ok"
    segment = collector.one()
    assert segment.entry.operation == "GET:/users/{id}"
    assert len(segment.spans) == 1


def test_a_huge_exception_is_cut(stage: Stage) -> None:
    """What is above the message's limit goes, the rest comes, and the app's answer is its own."""
    site = Site(stage, "flask_app:app")
    response, segment = site.get("/boom-huge/100")
    assert response.status_code == 500
    assert segment.entry.operation == "GET:/boom-huge/<int:kib>"
    log = segment.span(1).logs[0].data
    assert log["error.kind"] == "ValueError"
    assert 1000 < len(log["message"]) < 4096
    assert "in boom_huge" in log["stack"]
    assert 1000 < len(log["stack"]) < 16 * 1024


def test_no_helper(stage: Stage) -> None:
    """An app without it is served and traced as far as the wire tells."""
    site = Site(stage, "flask_app:app", env={"APP_AGENT": "none"})
    response, segment = site.get("/boom/x7f2a90b1c3d4e5f6")
    assert response.status_code == 500
    assert segment.entry.component == 49
    assert segment.entry.error
    assert len(segment.spans) == 1
    _, segment = site.get("/users/42")
    assert segment.entry.operation == "GET:/users/{id}"
    assert not segment.entry.error


def test_gevent(stage: Stage) -> None:
    """Greenlets switch in the middle of requests: each keeps its own part."""
    site = Site(stage, "flask_app:app", worker_class="gevent")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: site.proxy.get(f"/boom-late/{n}"), range(48)))
    segments = site.collector.wait(48)
    assert len(segments) == 48
    for segment in segments:
        assert segment.span(1).logs[0].data["message"] == f"no such word: {segment.path().rsplit('/', 1)[1]}"


def test_a_stranger_on_the_channel(stage: Stage) -> None:
    """Whoever reaches an abstract socket can send there: nothing of it is believed without an open segment."""
    collector = Collector(stage)
    told: list[bytes] = []

    def answer(exchange: Exchange) -> None:
        told.extend(exchange.values(b"sw8-stitch"))
        channel = told[-1].split(b";")[1].decode().replace("@", "\0", 1)
        for message in hostile():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                stranger.connect(channel)
                stranger.send(message)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def hostile() -> list[bytes]:
        span = {"id": 1, "parent": 0, "type": "local", "operation": "evil", "begin": 0, "duration": 1}
        message: dict[str, Any] = {"v": 1, "segment": "f" * 32, "seq": 0, "last": True, "spans": [span]}
        return [
            b"",
            b"\0",
            b"[" * 40000,
            b"x" * 60000,
            json.dumps(message).encode(),
            json.dumps({**message, "segment": 7}).encode(),
        ]

    proxy = Skystitch(stage, Origin(stage, answer).address, collector=collector)
    for number in range(3):
        assert proxy.get(f"/users/{number}").status_code == 200
    segments = collector.wait(3)
    assert all(len(segment.spans) == 1 for segment in segments)
    until(lambda: proxy.metric("skystitch_stitch_messages_total", result="unknown") >= 3, "counted")
