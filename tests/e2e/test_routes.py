# SPDX-License-Identifier: Apache-2.0
"""Which route a request takes, and what a route does besides passing it on."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Collector, Origin, Skystitch, Stage
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
