# SPDX-License-Identifier: Apache-2.0
"""WebSockets of frameworks that serve them: the app's span from the handshake to the close, and what is behind it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
from websocket import WebSocket, WebSocketBadStatusException, WebSocketConnectionClosedException, create_connection

from conftest import opened
from expect import DJANGO, Expected, check, check_log, check_times
from harness import Collector, Segment, Skystitch, Stage
from harness.server import Server

pytestmark = pytest.mark.matrix

SANIC = 7007
PAIRS = {
    "channels-daphne": ("channels", "channels_django:application", "daphne"),
    "channels-uvicorn": ("channels", "channels_django:application", "uvicorn"),
    "channels-hypercorn": ("channels", "channels_django:application", "hypercorn"),
    "sanic": ("sanic", "servers_sanic:app", "sanic"),
    "sanic-workers": ("sanic", "servers_sanic:app", "sanic-workers"),
    "sanic-uvicorn": ("sanic", "servers_sanic:app", "uvicorn"),
}


class Site:
    def __init__(self, stage: Stage, kind: str, app: str, server: str) -> None:
        self.kind = kind
        self.collector = Collector(stage)
        self.app = Server(stage, server, app)
        self.proxy = Skystitch(stage, self.app.address, collector=self.collector)
        self.traced("/ready")

    def traced(self, path: str) -> tuple[int, Segment]:
        self.collector.clear()
        status = self.proxy.get(path).status_code
        return status, self.collector.one()

    def connect(self, path: str) -> WebSocket:
        self.collector.clear()
        return create_connection(f"ws://127.0.0.1:{self.proxy.port}{path}", timeout=20, http_no_proxy=["127.0.0.1"])

    @property
    def component(self) -> int:
        return DJANGO if self.kind == "channels" else SANIC

    @property
    def view(self) -> str:
        return "channels_django.Chat" if self.kind == "channels" else "servers_sanic.chat"

    @property
    def room(self) -> str:
        return "/chat/tea/" if self.kind == "channels" else "/chat/tea"

    def socket_segment(self, *, operation: str, view: str, failed: bool = False, status: str = "101") -> Segment:
        segment = self.collector.one()
        entry, app = segment.entry, segment.span(1)
        assert (entry.type, entry.layer, entry.component) == ("Entry", "Http", self.component)
        assert (entry.operation, entry.error, entry.logs, entry.refs) == (operation, False, (), ())
        assert entry.tag("http.status_code") == status
        assert entry.tag("failure") is None
        assert (app.parent, app.type, app.component) == (0, "Local", self.component)
        assert (app.operation, app.error) == (view, failed)
        if not failed:
            assert app.logs == ()
        assert not segment.size_limited
        check_times(segment)
        return segment


@pytest.fixture(scope="module", params=list(PAIRS))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    kind, app, server = PAIRS[request.param]
    for module in (kind, *(["daphne"] if server == "daphne" else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no {module}")
    with contextmanager(opened)() as stage:
        yield Site(stage, kind, app, server)


def rule(site: Site) -> str:
    return "GET:/chat/<room>/" if site.kind == "channels" else "GET:/chat/<room:str>"


def test_talk(site: Site) -> None:
    """Nothing is reported before the close; then one segment that is as long as the WebSocket."""
    with closing(site.connect(site.room)) as ws:
        for word in ("one", "two"):
            ws.send(word)
            assert ws.recv().endswith(word)
        status, _ = other(site)
        assert status == 200
        assert not [segment for segment in site.collector.segments if "chat" in segment.path()]
        site.collector.clear()
    segment = site.socket_segment(operation=rule(site), view=site.view)
    assert len(segment.spans) == 2


def other(site: Site) -> tuple[int, Segment]:
    """A plain request beside the WebSocket."""
    status = site.proxy.get("/users/42").status_code
    return status, site.collector.one()


def test_failure(site: Site) -> None:
    with closing(site.connect(site.room)) as ws:
        ws.send("fail")
        with suppress(WebSocketConnectionClosedException):
            while ws.recv():
                pass
    segment = site.socket_segment(operation=rule(site), view=site.view, failed=True)
    check_log(segment.span(1), "ValueError")
    assert segment.span(1).logs[0].data["message"] == "tea"


def test_client_killed(site: Site) -> None:
    ws = site.connect(site.room)
    ws.send("one")
    assert ws.recv().endswith("one")
    ws.shutdown()
    site.socket_segment(operation=rule(site), view=site.view)


def test_both_in_one_room(site: Site) -> None:
    if site.kind != "channels":
        pytest.skip("of Channels' layer")
    with closing(site.connect(site.room)) as first, closing(site.connect(site.room)) as second:
        first.send("hello")
        assert second.recv() == first.recv() == "hello"
    segments = site.collector.wait(2)
    assert [segment.entry.operation for segment in segments] == [rule(site)] * 2
    assert len({segment.trace for segment in segments}) == 2


def test_synchronous_consumer(site: Site) -> None:
    """What it calls in its thread hangs below it."""
    if site.kind != "channels":
        pytest.skip("of Channels")
    with closing(site.connect("/stock/tea")) as ws:
        ws.send("2")
        assert ws.recv() == "42"
    segment = site.socket_segment(operation="GET:/stock/<str:item>", view="channels_django.Stock")
    below = [(span.parent, span.type, span.layer, span.operation) for span in segment.spans[2:]]
    assert below == [(1, "Exit", "Database", "SQLite/execute")]


def test_refused(site: Site) -> None:
    if site.kind != "channels":
        pytest.skip("of Channels")
    with pytest.raises(WebSocketBadStatusException) as refusal:
        site.connect("/refused")
    assert refusal.value.status_code == 403
    site.socket_segment(operation="GET:/refused", view="channels_django.Refuses", status="403")


def test_consumer_of_http(site: Site) -> None:
    if site.kind != "channels":
        pytest.skip("of Channels")
    view = "channels_django.Report"
    status, segment = site.traced("/reports/2024")
    assert status == 200
    check(site, segment, "GET", "/reports/2024", DJANGO, Expected(200, "GET:/reports/<int:year>", view))  # type: ignore[arg-type]
    status, segment = site.traced("/reports/1999")
    assert status == 500
    failed = Expected(500, "GET:/reports/<int:year>", view, "ValueError", failed=True)
    check(site, segment, "GET", "/reports/1999", DJANGO, failed)  # type: ignore[arg-type]


def test_views_of_django_beside_them(site: Site) -> None:
    if site.kind != "channels":
        pytest.skip("of Channels")
    status, segment = site.traced("/users/42")
    assert status == 200
    expected = Expected(200, "GET:/users/<int:id>", "channels_django.user")
    check(site, segment, "GET", "/users/42", DJANGO, expected)  # type: ignore[arg-type]


def test_nothing_was_lost(site: Site) -> None:
    for name in ("unknown", "late", "duplicate", "malformed", "overflow"):
        assert site.proxy.metric("skystitch_stitch_messages_total", result=name) == 0, name
    assert site.proxy.metric("skystitch_stitch_lost_total") == 0
