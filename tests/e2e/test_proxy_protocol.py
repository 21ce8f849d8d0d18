# SPDX-License-Identifier: Apache-2.0
"""Listeners behind a load balancer that sends the PROXY protocol."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from harness import Origin, Pki, RawClient, Skystitch, Stage, free_port, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 2, 198, 51, 100, 1]) + struct.pack(">HH", 1234, 80)
V2_TCP = V2 + b"\x21\x11" + struct.pack(">H", 12) + ADDRESSES
V2_TLV = V2 + b"\x21\x11" + struct.pack(">H", 12 + 7) + ADDRESSES + b"\x04\x00\x04tlv!"
V2_LOCAL = V2 + b"\x20\x00\x00\x00"


class Behind:
    """A proxy that listens twice: its harness needs a plain listener, the load balancer has the other."""

    def __init__(self, stage: Stage, tls: dict[str, Any] | None = None, **config: Any) -> None:
        self.origin = Origin(stage)
        self.plain, self.port = free_port(), free_port()
        listen: list[dict[str, Any]] = [
            {"address": f"127.0.0.1:{self.plain}"},
            {"address": f"127.0.0.1:{self.port}", "proxy_protocol": "on", **({"tls": tls} if tls else {})},
        ]
        self.proxy = Skystitch(stage, self.origin.address, port=self.plain, config={"listen": listen, **config})

    def connect(self, **options: Any) -> RawClient:
        return RawClient("127.0.0.1", self.port, **options)

    def client(self) -> bytes:
        (value,) = self.origin.exchanges[-1].values(b"x-forwarded-for")
        return value

    def counted(self, result: str) -> float:
        return self.proxy.metric("skystitch_proxy_headers_total", result=result)


@pytest.mark.parametrize(
    ("header", "client", "result"),
    [
        (V1, b"192.0.2.1", "used"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n", b"2001:db8::1", "used"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1", "local"),
        (V2_TCP, b"192.0.2.2", "used"),
        (V2_TLV, b"192.0.2.2", "used"),
        (V2_LOCAL, b"127.0.0.1", "local"),
    ],
    ids=["v1", "v1-ipv6", "v1-unknown", "v2", "v2-tlv", "v2-local"],
)
def test_the_client_is_who_the_header_says(stage: Stage, header: bytes, client: bytes, result: str) -> None:
    behind = Behind(stage)
    with behind.connect() as one:
        one.send(header + GET)
        assert one.response()[0].status == 200
        assert behind.client() == client
        one.send(GET)
        assert one.response()[0].status == 200
        assert behind.client() == client
    with behind.connect() as drop_by_drop:
        for byte in header + GET:
            drop_by_drop.send(bytes([byte]))
        assert drop_by_drop.response()[0].status == 200
        assert behind.client() == client
    assert behind.counted(result) == 2


def test_before_tls(stage: Stage) -> None:
    pki = Pki(stage.directory)
    behind = Behind(stage, tls=pki.sign("server", "DNS:localhost").config())
    with behind.connect() as client:
        client.send(V1)
        secured = pki.context().wrap_socket(client.sock, server_hostname="localhost")
        secured.sendall(GET)
        assert secured.recv(1000).startswith(b"HTTP/1.1 200")
        assert behind.client() == b"192.0.2.1"
        secured.close()


@pytest.mark.parametrize(
    ("sent", "result"),
    [
        (GET, "malformed"),
        (V2[:-1] + b"X" + GET, "malformed"),
        (V1[:10], "closed"),
        (b"", "closed"),
        (V1[:10], "timeout"),
    ],
)
def test_what_is_no_header(stage: Stage, sent: bytes, result: str) -> None:
    behind = Behind(stage, timeouts={"handshake": "300ms" if result == "timeout" else "1m"})
    with behind.connect() as client:
        client.send(sent)
        if result == "closed":
            client.close()
        else:
            assert client.closed()
    until(lambda: behind.counted(result) == 1, "it is counted")
    assert behind.origin.exchanges == []


def test_untrusted_peers_may_not_connect(stage: Stage) -> None:
    behind = Behind(stage, forwarded={"trust": "10.0.0.0/8"})
    with behind.connect() as client:
        assert client.closed()
    assert behind.counted("untrusted") == 1
    assert behind.proxy.get("/").status_code == 200, "the other listener is as it was"


def test_what_else_goes_by_the_address(stage: Stage) -> None:
    """Trust in X-Forwarded-For, limits, the access log: the load balancer is transparent."""
    log = stage.path("access.log")
    behind = Behind(
        stage,
        rate_limit={"rate": "1/h", "burst": 2},
        limits={"connections_per_address": 2},
        log={"access": str(log), "format": "json"},
    )
    with behind.connect() as client:
        client.send(V1 + b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
        assert client.response()[0].status == 200
        assert behind.client() == b"192.0.2.1", "who is not trusted names nobody"
        client.send(GET * 2)
        assert [client.response()[0].status for _ in range(2)] == [200, 429]
        with behind.connect() as second, behind.connect() as third, behind.connect() as other:
            second.send(V1 + GET)
            assert second.response()[0].status == 429
            third.send(V1 + GET)
            assert third.closed()
            other.send(V2_TCP + GET)
            assert other.response()[0].status == 200
    until(lambda: len(Path(log).read_text().splitlines()) == 5, "five lines are written")
    clients = [json.loads(line)["client"] for line in Path(log).read_text().splitlines()]
    assert sorted(set(clients)) == ["192.0.2.1", "192.0.2.2"]
