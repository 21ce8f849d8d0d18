# SPDX-License-Identifier: Apache-2.0
"""Which route a request takes, and what a route does besides passing it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from harness import Collector, Exchange, Origin, Skystitch, Stage
from harness.skystitch import run

HOSTS: dict[str, Any] = {
    "routes": [
        {"path": "/", "upstream": "app"},
        {"path": "/", "upstream": "shop", "host": "shop.example.org"},
        {"path": "/", "upstream": "below", "host": "*.example.org"},
    ]
}


def answer(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def behind_hosts(stage: Stage, **config: Any) -> Skystitch:
    names = ("app", "shop", "below")
    upstreams = {name: {"servers": [Origin(stage, answer(name), name=name).address]} for name in names}
    return Skystitch(stage, "unix:/unused", config={"upstreams": upstreams, **HOSTS, **config})


def test_the_host_chooses(stage: Stage) -> None:
    proxy = behind_hosts(stage)
    for host, upstream in {
        "shop.example.org": "shop",
        "SHOP.example.org:8443": "shop",
        "deep.below.example.org": "below",
        "example.org": "app",
        "127.0.0.1": "app",
    }.items():
        assert proxy.get("/", headers={"Host": host}).text == upstream, host
    with proxy.raw() as client:
        client.send(b"GET http://shop.example.org/ HTTP/1.1\r\nHost: shop.example.org\r\n\r\n")
        assert client.response()[1] == b"shop"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response()[1] == b"app"


def test_an_unknown_host_is_refused(stage: Stage) -> None:
    collector = Collector(stage)
    proxy = behind_hosts(stage, unknown_host="refuse", reporter={"backends": [collector.address]})
    assert proxy.get("/", headers={"Host": "shop.example.org"}).text == "shop"
    collector.one()
    collector.clear()
    refused = proxy.get("/", headers={"Host": "evil.test"})
    assert refused.status_code == 421
    assert "host" in refused.text
    assert collector.one().entry.tag("http.status_code") == "421"
    assert proxy.metric("skystitch_failures_total", reason="unknown_host") == 1


ROUTES: list[dict[str, Any]] = [
    {
        "path": "/",
        "upstream": "app",
        "response_headers": {"set": {"Cache-Control": "no-store"}, "remove": ["server"]},
    },
    {
        "path": "/api/",
        "upstream": "app",
        "strip_prefix": "on",
        "request_headers": {"set": {"X-Area": "api"}, "add": {"X-Tag": "b"}, "remove": ["Cookie"]},
        "response_headers": {"add": {"Set-Cookie": "seen=1"}},
    },
    {"path": "/quiet/", "upstream": "app", "traced": "off"},
    {"path": "/upload/", "upstream": "app", "limits": {"body": "1KiB"}},
    {"path": "/large/", "upstream": "app", "limits": {"body": "1MiB"}},
    {"path": "/slow/", "upstream": "app", "timeouts": {"response": "300ms"}},
    {"path": "/", "host": "www.example.org", "redirect": "https://example.org"},
    {"path": "/old/", "return": {"status": 301, "location": "/new/$rest$query"}},
    {
        "path": "/teapot",
        "return": {"status": 418, "body": "short and stout"},
        "response_headers": {"set": {"X-A": "b"}},
    },
    {"path": "/gone/", "return": {"status": 204}},
]
ANSWER = b"HTTP/1.1 200 OK\r\nServer: app\r\nCache-Control: public\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Stand:
    origin: Origin
    collector: Collector
    proxy: Skystitch


@pytest.fixture(scope="module")
def stand(module_stage: Stage) -> Stand:
    def script(exchange: Exchange) -> None:
        if b" /slow/" not in exchange.request_line:
            exchange.send(ANSWER)

    origin = Origin(module_stage, script)
    collector = Collector(module_stage)
    config = {"routes": ROUTES, "limits": {"body": "64KiB"}, "timeouts": {"response": "20s"}}
    return Stand(origin, collector, Skystitch(module_stage, origin.address, collector=collector, config=config))


def test_fields_of_the_answer(stand: Stand) -> None:
    answer = stand.proxy.get("/x")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Server" not in answer.headers
    assert answer.headers["Set-Cookie"] == "a=b"
    with stand.proxy.raw() as client:
        client.send(b"GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n")
        head = client.response()[0]
        assert head.headers.get_all("Set-Cookie") == ["a=b", "seen=1"]
        assert head.headers["Server"] == "app"


def test_fields_of_the_request_and_the_prefix(stand: Stand) -> None:
    headers = {"Cookie": "a=b", "X-Area": "evil", "X-Tag": "a", "X-Forwarded-Prefix": "/out"}
    assert stand.proxy.get("/api/users/7?x=/api/", headers=headers).status_code == 200
    exchange = stand.origin.exchanges[-1]
    assert exchange.request_line == b"GET /users/7?x=/api/ HTTP/1.1"
    assert exchange.values(b"X-Area") == [b"api"]
    assert exchange.values(b"X-Tag") == [b"a", b"b"]
    assert exchange.values(b"Cookie") == []
    assert exchange.values(b"X-Forwarded-Prefix") == [b"/out/api"]
    assert len(exchange.values(b"sw8")) == 1


def test_the_prefix_in_another_writing(stand: Stand) -> None:
    with stand.proxy.raw() as client:
        for target, seen in {
            b"/b/../api/x": b"/x",
            b"/%61pi/a%2Fb/../c?q": b"/a%2Fb/../c?q",
            b"/api/..": b"/api/..",
        }.items():
            client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            client.response()
            assert stand.origin.exchanges[-1].request_line == b"GET " + seen + b" HTTP/1.1", target


def test_an_untraced_route(stand: Stand) -> None:
    before = stand.proxy.metric("skystitch_requests_untraced_total", reason="route")
    stand.proxy.get("/quiet/x")
    assert stand.origin.exchanges[-1].values(b"sw8") == []
    assert stand.proxy.metric("skystitch_requests_untraced_total", reason="route") == before + 1
    stand.proxy.get("/loud")
    assert stand.collector.one(lambda segment: segment.path() in ("/loud", "/quiet/x")).path() == "/loud"


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/upload/", 1024, 200),
        ("/upload/", 1025, 413),
        ("/x/../upload/", 1025, 413),
        ("/other", 65536, 200),
        ("/other", 65537, 413),
        ("/large/?a", 1 << 20, 200),
        ("/large/", (1 << 20) + 1, 413),
    ],
)
def test_the_size_of_a_body(stand: Stand, path: str, size: int, status: int) -> None:
    with stand.proxy.raw() as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        if status == 200:
            client.send(b"x" * size)
        assert client.response()[0].status == status
    if status == 200:
        assert len(stand.origin.exchanges[-1].body) == size


def test_a_chunked_body(stand: Stand) -> None:
    parts = (b"x" * 600 for _ in range(2))
    assert stand.proxy.request("POST", "/upload/", data=parts).status_code == 413


def test_a_slow_answer(stand: Stand) -> None:
    answer = stand.proxy.get("/slow/x")
    assert answer.status_code == 504
    assert stand.proxy.metric("skystitch_failures_total", reason="response_timeout") == 1


@pytest.mark.parametrize(
    ("target", "host", "status", "location"),
    [
        ("/a%20b/?x=1&y", "www.example.org:80", 308, "https://example.org/a%20b/?x=1&y"),
        ("/old/a?b", "other", 301, "/new/a?b"),
        ("/old/", "other", 301, "/new/"),
        ("/x/../old//evil", "other", 301, "/new//evil"),
    ],
)
def test_a_redirect(stand: Stand, target: str, host: str, status: int, location: str) -> None:
    asked = len(stand.origin.exchanges)
    with stand.proxy.raw() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer, body = client.response()
        assert (answer.status, answer.headers["Location"], body) == (status, location, b"")
        client.send(b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.response()[0].status == 200
    assert len(stand.origin.exchanges) == asked + 1
    path = target.partition("?")[0]
    assert stand.collector.one(lambda segment: segment.path() == path).entry.tag("http.status_code") == str(status)


def test_an_answer_of_the_route(stand: Stand) -> None:
    answer = stand.proxy.get("/teapot")
    assert (answer.status_code, answer.text) == (418, "short and stout")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-A"] == "b"
    head = stand.proxy.request("HEAD", "/teapot")
    assert (head.headers["Content-Length"], head.content) == ("15", b"")
    empty = stand.proxy.request("POST", "/gone/x", data=b"body")
    assert empty.status_code == 204
    assert "Content-Length" not in empty.headers


def test_a_server_that_is_down_is_passed_over(stage: Stage) -> None:
    origin = Origin(stage)
    gone = f"unix:{stage.path('gone.sock')}"
    upstreams = {"app": {"servers": [gone, origin.address], "max_fails": 2, "fail_timeout": "60s"}}
    proxy = Skystitch(stage, origin.address, config={"upstreams": upstreams})
    for number in range(10):
        assert proxy.get(f"/{number}").text == "ok"
    assert len(origin.exchanges) == 10
    assert proxy.metric("skystitch_upstream_server_down_total") == 1
    assert proxy.log().count("is passed over for 60000 ms") == 1


MISTAKES = {
    "refuse without hosts": ({"unknown_host": "refuse"}, ["unknown_host", "no route has a host"]),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_a_route(stage: Stage, kind: str) -> None:
    config, says = MISTAKES[kind]
    proxy = Skystitch(stage, "unix:/unused", config=config, start=False)
    done = run("--config", str(proxy.config_path))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in says:
        assert word in done.stderr, done.stderr


def test_a_redirect_by_host_needs_one(stage: Stage) -> None:
    """Without a host the path's first segment would become the host."""
    proxy = Skystitch(stage, "127.0.0.1:9", config={"routes": [{"path": "/", "redirect": "https://$host$path"}]})
    with proxy.raw() as client:
        client.send(b"GET /evil.test/x HTTP/1.0\r\n\r\n")
        answer, _ = client.response()
        assert (answer.status, answer.headers.get("Location")) == (400, None)
    with proxy.raw() as client:
        client.send(b"GET /x HTTP/1.0\r\nHost: a.test:80\r\n\r\n")
        assert client.response()[0].headers["Location"] == "https://a.test/x"
    assert proxy.metric("skystitch_failures_total", reason="no_host") == 1
