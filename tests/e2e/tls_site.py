# SPDX-License-Identifier: Apache-2.0
"""What the tests of TLS share: a proxy that listens by it, and the versions."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from harness import RawClient, Skystitch, Stage, free_port

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
#: For tests that each version has to pass.
versions = pytest.mark.parametrize("version", VERSIONS, ids=["tls1.2", "tls1.3"])


class TlsSite:
    """A proxy that listens by TLS alone."""

    def __init__(self, stage: Stage, upstream: str, tls: dict[str, Any], config: Any = None, **options: Any) -> None:
        port = free_port()
        listen = [{"address": f"127.0.0.1:{port}", "tls": tls}]
        self.proxy = Skystitch(stage, upstream, port=port, config={"listen": listen, **(config or {})}, **options)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.proxy.port}"

    def raw(self, tls: ssl.SSLContext, **options: Any) -> RawClient:
        return RawClient("127.0.0.1", self.proxy.port, tls=tls, **options)

    def failed(self, reason: str) -> float:
        return self.proxy.metric("skystitch_tls_failures_total", reason=reason)
