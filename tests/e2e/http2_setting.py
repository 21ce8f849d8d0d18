# SPDX-License-Identifier: Apache-2.0
"""What the tests of HTTP/2 share: a proxy that takes it, and error codes of RFC 9113, 7."""

from __future__ import annotations

from typing import Any

from harness import Exchange, FrameClient, Origin, Pair, Skystitch, Stage, free_port

MIB = 1 << 20
NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 5, 6, 7, 8
COMPRESSION_ERROR, CALM = 9, 11
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Setting:
    """A proxy that takes HTTP/2 with and without TLS."""

    def __init__(
        self, stage: Stage, upstream: str, server: Pair | None = None, config: Any = None, **options: Any
    ) -> None:
        self.port = self.tls_port = free_port()
        while self.tls_port == self.port:
            self.tls_port = free_port()
        listen: list[dict[str, Any]] = [{"address": f"127.0.0.1:{self.port}", "h2c": True}]
        if server is not None:
            listen.append({"address": f"127.0.0.1:{self.tls_port}", "tls": server.config()})
        self.proxy = Skystitch(
            stage, upstream, port=self.port, config={"listen": listen, **(config or {})}, **options
        )

    def client(self, **options: Any) -> FrameClient:
        return FrameClient(self.port, **options)

    def ended(self, reason: str) -> float:
        return self.proxy.metric("skystitch_http2_connections_ended_total", reason=reason)

    def refused(self, reason: str) -> float:
        return self.proxy.metric("skystitch_requests_refused_total", reason=reason)


def only(origin: Origin, before: int) -> Exchange:
    (exchange,) = origin.exchanges[before:]
    return exchange
