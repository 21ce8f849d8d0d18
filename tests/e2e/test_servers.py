# SPDX-License-Identifier: Apache-2.0
"""The same situations through every framework and app server, seen from the collector: whole segments."""

from __future__ import annotations

import http.client
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from conftest import opened
from expect import DJANGO, FLASK, Expected, check, check_call, check_log, check_times, sw8_of
from harness import Collector, Origin, Segment, Skystitch, Stage
from harness.server import PYTHON, Server

FASTAPI, SANIC = 7014, 7007


@dataclass(frozen=True)
class App:
    """One framework's app: what it is called, and how it writes the rule of /users/42."""

    target: str
    module: str  # of the views
    component: int
    user_rule: str
    named: str = "{module}.{view}"  # how its views are called
    handles: bool = True  # whether an app's own exceptions can have a handler

    @property
    def is_asynchronous(self) -> bool:
        """Whether it has asynchronous views beside the others."""
        return self.target.startswith("servers_django_asgi")

    def view(self, name: str, *, asynchronous: bool = False) -> str:
        return self.named.format(module=self.module, view=f"{'async_' if asynchronous else ''}{name}")


APPS = {
    "flask": App("servers_flask:app", "servers_flask", FLASK, "/users/<int:id>"),
    "django": App("servers_django_wsgi:application", "servers_django", DJANGO, "/users/<int:id>"),
    "django-asgi": App("servers_django_asgi:application", "servers_django", DJANGO, "/users/<int:id>"),
    "fastapi": App("servers_fastapi:app", "servers_fastapi", FASTAPI, "/users/{id}"),
    "sanic": App("servers_sanic:app", "servers_sanic", SANIC, "/users/<id:int>"),
    "bottle": App("servers_bottle:app", "servers_bottle", 7015, "/users/<id:int>", handles=False),
    "falcon": App("servers_falcon:app", "servers_falcon", 7012, "/users/{id:int}", "{module}.{view}.on_get"),
    "pyramid": App(
        "servers_pyramid:app", "servers_pyramid", 7009, "/users/{id}", "pyramid.router.Router.handle_request"
    ),
    "aiohttp": App("servers_aiohttp", "__main__", 7008, "/users/{id}", handles=False),
    "tornado": App("servers_tornado", "__main__", 7005, "/users/<var>", "{module}.{view}.get", handles=False),
}

WSGI = [
    "gunicorn-sync",
    "gunicorn-sync-preload",
    "gunicorn-gthread",
    "gunicorn-gthread-preload",
    "gunicorn-gevent",
    "gunicorn-gevent-preload",
    "uwsgi",
    "uwsgi-threads",
    "uwsgi-lazy-apps",
    "mod-wsgi",
    "mod-wsgi-threads",
    "mod-wsgi-interpreter",
]
ASGI = [
    "gunicorn-asgi",
    "gunicorn-uvicorn",
    "gunicorn-uvicorn-preload",
    "uvicorn",
    "uvicorn-httptools",
    "uvicorn-workers",
    "hypercorn",
    "daphne",
]
OF_OTHERS = ["gunicorn-sync", "gunicorn-gthread", "mod-wsgi-threads", "uwsgi"]
#: What ./dev test runs; the others are the matrix.
CORE = [("fastapi", "uvicorn"), ("django-asgi", "hypercorn")]

PAIRS = [
    *((app, server) for app in ("flask", "django") for server in WSGI),
    *((app, server) for app in ("django-asgi", "fastapi") for server in ASGI),
    *(("sanic", server) for server in ASGI if server != "daphne"),  # that tells apps of no start
    ("sanic", "sanic"),
    ("sanic", "sanic-workers"),
    *((app, server) for app in ("bottle", "falcon", "pyramid") for server in OF_OTHERS),
    ("aiohttp", "script"),
    ("tornado", "script"),
    ("flask", "flask-run"),
    ("flask", "flask-run-reload"),
    ("django", "runserver"),
    ("django", "runserver-reload"),
]

#: Servers that are not there are left out, but for those that the test list of packages names.
MODULES = {
    "gunicorn-uvicorn": "uvicorn_worker",
    "gunicorn-uvicorn-preload": "uvicorn_worker",
    "uvicorn-httptools": "httptools",
    "daphne": "daphne",
}


#: What these send of an answer that breaks looks whole: they end it by closing the connection, or with a last chunk.
HIDES_CUTS = ("mod-wsgi", "runserver", "sanic", "uwsgi")
#: Nobody tells these that the client has gone: the servers take and drop what is sent, and answer only who asks them
#: (receive), as Sanic never does, nor Starlette where a server claims ASGI 2.4. They send on for ever, or until
#: gunicorn cancels them after 3 s; nobody waits that long for what the app would say then.
UNAWARE = [("servers_sanic", server) for server in ASGI] + [("servers_fastapi", "gunicorn-asgi")]
#: This one says nothing when its app fails in the middle of an answer.
SILENT = {"daphne"}


def is_there(app: str, server: str) -> bool:
    if app in ("bottle", "falcon", "pyramid", "sanic", "tornado") and importlib.util.find_spec(app) is None:
        return False
    if server.startswith("uwsgi"):
        return (PYTHON.parent / "uwsgi").exists()
    if server.startswith("mod-wsgi"):
        return (PYTHON.parent / "mod_wsgi-express").exists()
    module = MODULES.get(server)
    return module is None or importlib.util.find_spec(module) is not None


class Site:
    """An app under a server behind its proxy. It calls an origin."""

    def __init__(self, stage: Stage, app: App, server: str, **options) -> None:
        self.stage, self.of, self.server = stage, app, server
        self.collector = Collector(stage)
        self.origin = Origin(stage, tcp=True)
        env = {"APP_CALLEE": f"http://{self.origin.address}/stock"}
        self.app = Server(stage, server, app.target, env=env, **options)
        self.proxy = Skystitch(stage, self.app.address, collector=self.collector)
        # The first request of a process may find the proxy without a helper that it knows.
        self.traced("GET", "/ready")

    def traced(self, method: str, path: str, **options):
        self.collector.clear()
        response = self.proxy.request(method, path, **options)
        return response, self.collector.one()


def pairs() -> Iterator[object]:
    for app, server in PAIRS:
        marks = [] if (app, server) in CORE else [pytest.mark.matrix]
        if not is_there(app, server):
            marks.append(pytest.mark.skip(reason=f"{app} or {server} is not installed"))
        yield pytest.param((app, server), id=f"{app}-{server}", marks=marks)


@pytest.fixture(scope="module", params=pairs())
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    app, server = request.param
    with contextmanager(opened)() as stage:
        yield Site(stage, APPS[app], server)


def situations(app: App, server: str) -> dict[str, tuple[str, str, Expected]]:
    view = app.view
    user = Expected(200, f"GET:{app.user_rule}", view("user"))
    found = {
        "200": ("GET", "/users/42?verbose=1", user),
        "HEAD": ("HEAD", "/users/42", replace(user, operation=f"HEAD:{app.user_rule}")),
        "404": ("GET", "/nope/42", Expected(404, "GET:/*")),
        "handled": (
            "GET",
            "/handled",
            Expected(409, "GET:/handled", view("handled"), f"{app.module}.OutOfStockError"),
        ),
        "unhandled": ("GET", "/boom", Expected(500, "GET:/boom", view("boom"), "ValueError", failed=True)),
        "abort": ("GET", "/abort", Expected(403, "GET:/abort", view("aborted"))),
        "redirect": ("GET", "/redirect", Expected(302, "GET:/redirect", view("redirected"))),
        "large": ("GET", "/large", Expected(200, "GET:/large", view("large"))),
        "stream": ("GET", "/stream", Expected(200, "GET:/stream", view("stream"))),
    }
    if not app.handles:
        del found["handled"]
    if app is APPS["pyramid"] and server == "uwsgi":
        # The exception leaves the app, as it does with gunicorn, which then writes a 500. uWSGI writes nothing.
        method, path, expected = found["unhandled"]
        nothing = replace(expected, status=502, failure="connection closed without an answer")
        found["unhandled"] = (method, path, nothing)
    if app.is_asynchronous:
        prefix = "/async"
        found["async 200"] = (
            "GET",
            f"{prefix}/users/42",
            Expected(200, f"GET:{prefix}{app.user_rule}", view("async_user")),
        )
        found["async unhandled"] = (
            "GET",
            f"{prefix}/boom",
            Expected(500, f"GET:{prefix}/boom", view("async_boom"), "ValueError", failed=True),
        )
        found["async stream"] = (
            "GET",
            f"{prefix}/stream",
            Expected(200, f"GET:{prefix}/stream", view("async_stream")),
        )
    return found


def test_situations(site: Site) -> None:
    for name, (method, path, expected) in situations(site.of, site.server).items():
        response, segment = site.traced(method, path)
        assert response.status_code == expected.status, name
        check(site, segment, method, path, site.of.component, expected)
        if name == "large":
            assert len(response.content) == 4 << 20


def stream_path(site: Site, path: str) -> tuple[str, str]:
    """Under ASGI Django reads a plain iterator whole before it sends: only asynchronous ones are streams."""
    if site.of.is_asynchronous:
        return f"/async{path}", site.of.view(path[1:].replace("-", "_"), asynchronous=True)
    return path, site.of.view(path[1:].replace("-", "_"))


def test_stream_that_breaks(site: Site) -> None:
    """The entry says so too, even where the server lets the answer look whole: then the app's part tells."""
    path, view = stream_path(site, "/stream-broken")
    site.collector.clear()
    break_stream(site, site.proxy, path)
    segment = site.collector.one()
    gone = site.server in SILENT
    check_stream(site, segment, path, view, {"client_gone": "true"} if gone else {"failure": "answer cut short"})
    assert not segment.size_limited
    assert segment.entry.error == (not gone)
    check_log(segment.span(1), "RuntimeError")
    assert segment.span(1).error


def break_stream(site: Site, proxy: Skystitch, path: str) -> None:
    hidden = site.server.startswith(HIDES_CUTS) or site.of is APPS["tornado"]
    with proxy.raw() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = client.head()
        assert head.read(7) == b"part 0\n"
        if hidden:
            assert head.read() == b""
        elif site.server not in SILENT:
            with pytest.raises(http.client.IncompleteRead):
                head.read()


def test_stream_that_breaks_unsampled(site: Site) -> None:
    """It is kept as an error, with what the app tells; one that ends as it should is left."""
    if site.server in SILENT:
        pytest.skip("there the request ends by its client, which is no error")
    agent = {"sampling": {"rate": 0}}
    proxy = Skystitch(
        site.stage, site.app.address, name="unsampled", collector=site.collector, config={"agent": agent}
    )
    site.collector.clear()
    whole, _ = stream_path(site, "/stream")
    assert proxy.get(whole).content.startswith(b"part 0\n")
    path, view = stream_path(site, "/stream-broken")
    break_stream(site, proxy, path)
    segment = site.collector.one()
    check_stream(site, segment, path, view, {"failure": "answer cut short"})
    assert segment.entry.error
    assert segment.span(1).error
    check_log(segment.span(1), "RuntimeError")
    assert proxy.metric("skystitch_sampling_total", result="left") == 1
    assert proxy.metric("skystitch_sampling_total", result="kept_error") == 1


def check_stream(site: Site, segment: Segment, path: str, view: str, ended: dict[str, str]) -> None:
    """All of a stream's segment but the errors; ended: the tags that say how."""
    entry, app = segment.entry, segment.span(1)
    assert len(segment.spans) == 2
    assert (entry.parent, entry.type, entry.layer, entry.component) == (-1, "Entry", "Http", site.of.component)
    assert entry.operation == f"GET:{path}"
    assert dict(entry.tags) == {
        "http.method": "GET",
        "http.url": f"http://127.0.0.1{path}",
        "http.status_code": "200",
        **ended,
    }
    assert (entry.logs, entry.refs) == ((), ())
    assert (app.parent, app.type, app.layer, app.component) == (0, "Local", "Unknown", site.of.component)
    assert (app.operation, app.tags, app.refs) == (view, (), ())
    check_times(segment)


def is_told_who_leaves(site: Site) -> bool:
    return (site.of.module, site.server) not in UNAWARE


def test_client_that_leaves(site: Site) -> None:
    """The proxy knows; the app's part says no more than that it has begun, where the app does not."""
    path, view = stream_path(site, "/endless")
    site.collector.clear()
    with site.proxy.raw() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert client.head().status == 200
    segment = site.collector.one()
    check_stream(site, segment, path, view, {"client_gone": "true"})
    assert segment.size_limited == (not is_told_who_leaves(site))
    assert not segment.entry.error
    assert (segment.span(1).error, segment.span(1).logs) == (False, ())


def test_outgoing_call(site: Site) -> None:
    response, segment = site.traced("GET", "/call")
    assert response.status_code == 200
    assert "ok" in response.text  # some answer JSON
    expected = Expected(200, "GET:/call", site.of.view("call"), calls=1)
    check(site, segment, "GET", "/call", site.of.component, expected)
    check_call(segment, 2, f"http://{site.origin.address}/stock")
    assert site.origin.exchanges[-1].values(b"sw8") == [sw8_of(segment, 2)]


def test_nothing_was_lost(site: Site) -> None:
    """After all the tests above: every message was used."""
    for name in ("unknown", "late", "duplicate", "malformed", "overflow"):
        if name == "late" and not is_told_who_leaves(site):
            continue  # a slow machine may have seen gunicorn's cancellation
        assert site.proxy.metric("skystitch_stitch_messages_total", result=name) == 0, name
    assert site.proxy.metric("skystitch_stitch_lost_total") == 0
