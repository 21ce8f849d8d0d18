# SPDX-License-Identifier: Apache-2.0
"""A public listener begins traces anew and replaces forwarded fields, an internal one goes on with both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Exchange, FrameClient, Origin, Pki, RawClient, Skystitch, Stage, free_port, until
from harness.http2 import get
from test_propagation import sw8
from test_reload import reload

BELIEVES_NOBODY = {"forwarded": {"trust": "never"}, "trust_incoming": "never"}


class Doors:
    """One proxy: an internal listener as the general options say, a public one that believes nobody, each in the
    three ways in which clients come."""

    def __init__(self, stage: Stage) -> None:
        self.collector = Collector(stage)
        self.origin = Origin(stage)
        self.pki = Pki(stage.directory)
        self.tls = self.pki.sign("localhost", "DNS:localhost").config()
        self.ports: dict[str, int] = {}
        while len(set(self.ports.values())) != 4:
            self.ports = {f"{who} {how}": free_port() for who in ("internal", "public") for how in ("plain", "TLS")}
        self.log = stage.path("access.log")
        self.proxy = Skystitch(
            stage,
            self.origin.address,
            collector=self.collector,
            port=self.ports["internal plain"],
            config={"listen": self.listen({}, BELIEVES_NOBODY), "log": {"access": str(self.log), "format": "json"}},
        )

    def listen(self, internal: dict[str, Any], public: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "address": f"127.0.0.1:{port}",
                **({"tls": self.tls} if name.endswith("TLS") else {"h2c": "on"}),
                **(internal if name.startswith("internal") else public),
            }
            for name, port in self.ports.items()
        ]

    def http1(self, who: str, how: str) -> None:
        tls = self.pki.context() if how == "TLS" else None
        with RawClient("127.0.0.1", self.ports[f"{who} {how}"], tls=tls) as client:
            client.send(
                b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: gopher\r\n"
                b"sw8: %s\r\nsw8-correlation: a2V5:dmFsdWU=\r\n\r\n" % sw8().encode()
            )
            assert client.response()[0].status == 200

    def http2(self, who: str, how: str) -> None:
        tls = self.pki.context() if how == "TLS" else None
        with FrameClient(self.ports[f"{who} {how}"], tls=tls) as client:
            more = [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "gopher")]
            more += [("sw8", sw8()), ("sw8-correlation", "a2V5:dmFsdWU=")]
            assert client.request(1, get("/a", *more)).status == 200

    def expect(self, believed: bool, request: Callable[[], None]) -> None:
        """What app, collector and access log see of one request."""
        self.collector.clear()
        request()
        exchange: Exchange = self.origin.exchanges[-1]
        segment = self.collector.one()
        assert (segment.trace == "trace-1") == believed
        assert [ref.trace for ref in segment.entry.refs] == ["trace-1"] * believed
        assert exchange.values(b"sw8-correlation") == [b"a2V5:dmFsdWU="] * believed
        assert exchange.values(b"x-forwarded-for") == [b"192.0.2.9, 127.0.0.1" if believed else b"127.0.0.1"]
        assert (exchange.values(b"x-forwarded-proto") == [b"gopher"]) == believed
        until(lambda: len(self.lines) > 0 and self.lines[-1].get("segment") == segment.id, "the line is written")
        assert self.lines[-1]["client"] == ("192.0.2.9" if believed else "127.0.0.1")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.log).read_text().splitlines()]


@pytest.fixture(scope="module")
def doors(module_stage: Stage) -> Doors:
    return Doors(module_stage)


@pytest.mark.parametrize("how", ["plain", "TLS"])
@pytest.mark.parametrize("who", ["internal", "public"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_each_by_its_own_lists(doors: Doors, protocol: str, who: str, how: str) -> None:
    doors.expect(who == "internal", lambda: getattr(doors, protocol)(who, how))


def test_a_reload_changes_them(stage: Stage) -> None:
    """Also for the connections that there are."""
    doors = Doors(stage)
    with RawClient("127.0.0.1", doors.ports["public plain"]) as client:

        def ask() -> None:
            client.send(
                b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: gopher\r\n"
                b"sw8: %s\r\nsw8-correlation: a2V5:dmFsdWU=\r\n\r\n" % sw8().encode()
            )
            assert client.response()[0].status == 200

        doors.expect(False, ask)
        loopback = {"forwarded": {"trust": ["10.0.0.0/8", "127.0.0.0/8"]}, "trust_incoming": "always"}
        reload(doors.proxy, listen=doors.listen(BELIEVES_NOBODY, loopback))
        doors.expect(True, ask)
        doors.expect(False, lambda: doors.http1("internal", "TLS"))
        reload(doors.proxy, listen=doors.listen({}, {}), forwarded={"trust": "never"})
        ask()
        assert doors.origin.exchanges[-1].values(b"x-forwarded-for") == [b"127.0.0.1"], "the general list again"


def test_what_else_goes_by_the_forwarded_list(stage: Stage) -> None:
    """Requests of one client by rate, connections of one address, and who may send the PROXY protocol's header."""
    ports: list[int] = []
    while len(set(ports)) != 3:
        ports = [free_port() for _ in range(3)]
    here, other, balanced = (f"127.0.0.1:{port}" for port in ports)
    nobody = {"forwarded": {"trust": "never"}}
    listen: list[dict[str, Any]] = [{"address": here}, {"address": other, **nobody}]
    listen.append({"address": balanced, "proxy_protocol": "on", **nobody})
    proxy = Skystitch(
        stage,
        Origin(stage).address,
        port=ports[0],
        config={
            "listen": listen,
            "limits": {"connections_per_address": 1},
            "rate_limit": {"rate": "1/h", "burst": 1},
        },
    )
    with RawClient("127.0.0.1", ports[2]) as client:
        assert client.closed()
    assert proxy.metric("skystitch_proxy_headers_total", result="untrusted") == 1
    named = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"
    with RawClient("127.0.0.1", ports[0]) as one, RawClient("127.0.0.1", ports[0]) as two:
        for client, host, status in ((one, 1, 200), (two, 2, 200), (two, 1, 429)):
            client.send(named % host)
            assert client.response()[0].status == status
    with RawClient("127.0.0.1", ports[1]) as one:
        for host, status in ((1, 200), (2, 429)):
            one.send(named % host)
            assert one.response()[0].status == status
        with RawClient("127.0.0.1", ports[1]) as two:
            two.send(named % 3)
            assert two.response()[0].status == 503, "the second connection of an address"
