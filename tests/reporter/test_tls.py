# SPDX-License-Identifier: Apache-2.0
"""TLS towards the backend: who is trusted, who we say we are, and what a refusal costs."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import h2.errors
import h2.events
import pytest
import trustme

from reporter.drive import Drive, wait_until
from reporter.grpc_collector import Collector
from reporter.raw_server import Peer, RawServer, confirm
from reporter.test_http import RestCollector

Start = Callable[..., Drive]
Serve = Callable[..., AbstractContextManager[Collector]]

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Authority:
    """Signs certificates and writes them where they are wanted as files."""

    ca: trustme.CA
    directory: Path

    def file(self, name: str, *blobs: trustme.Blob) -> Path:
        path = self.directory / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    @property
    def root(self) -> Path:
        return self.file("ca.pem", self.ca.cert_pem)

    def client(self, name: str) -> dict[str, Path]:
        leaf = self.ca.issue_cert(name)
        return {
            "tls_certificate": self.file(f"{name}.pem", *leaf.cert_chain_pems),
            "tls_key": self.file(f"{name}.key", leaf.private_key_pem),
        }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(trustme.CA(), tmp_path)


def credentials(authority: Authority, leaf: trustme.LeafCert, ask: bool = False) -> grpc.ServerCredentials:
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    roots = authority.ca.cert_pem.bytes() if ask else None
    return grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)], roots, ask)


@pytest.fixture
def serve(authority: Authority) -> Serve:
    """A collector with a certificate for `name`: serve("127.0.0.1", ask=True)."""

    @contextmanager
    def start(name: str = "127.0.0.1", ask: bool = False, port: int = 0, **options: object) -> Iterator[Collector]:
        leaf = authority.ca.issue_cert(name, **options)
        with Collector(port, credentials(authority, leaf, ask)) as collector:
            yield collector

    return start


def complaints(d: Drive) -> list[str]:
    return [line for line in d.log().splitlines() if "no backend takes segments" in line]


def check_kept(d: Drive, reason: str) -> None:
    """Nothing is lost, it is tried again, and one line says why."""
    d.push(100)
    counters = d.wait_at_least(calls_failed=2)
    assert (counters["backlog_segments"], counters["confirmed"], counters["connected"]) == (100, 0, False)
    assert len(complaints(d)) == 1
    assert reason in complaints(d)[0]
    assert d.stop(0)["dropped_stop"] == 100


def test_segments_arrive_on_one_connection(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve() as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root, token="secret")
        for total in range(1, 21):
            d.push(1)
            d.wait(confirmed=total)
        assert len(collector.ids()) == 20
        assert collector.metadata["collect"]["authentication"] == "secret"
        assert len(collector.peers) == 1


def test_large_batches(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve() as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root, batch=4 << 20)
        d.push(5000, 1000)
        d.wait(confirmed=5000)
        assert len(set(collector.ids())) == 5000


def test_the_name_can_be_another(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve("oap.example.org") as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root, tls_server_name="oap.example.org")
        d.push(10)
        d.wait(confirmed=10)


def test_wrong_name(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve("oap.example.org") as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root)
        check_kept(d, "127.0.0.1")


def test_wrong_authority(drive: Start, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(trustme.CA(), tmp_path / "other")
    with serve() as collector:
        check_kept(drive(collector.address, tls="on", tls_ca=other.root), "certificate")


def test_unknown_to_the_system(drive: Start, serve: Serve) -> None:
    with serve() as collector:
        check_kept(drive(collector.address, tls="on"), "certificate")


def test_expired(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve(not_before=PAST, not_after=PAST + datetime.timedelta(days=30)) as collector:
        check_kept(drive(collector.address, tls="on", tls_ca=authority.root), "expired")


def test_renewed_certificate(drive: Start, serve: Serve, authority: Authority) -> None:
    """What was kept while the backend's certificate was bad goes out after."""
    with serve(not_before=PAST, not_after=PAST + datetime.timedelta(days=30)) as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root)
        d.push(100)
        d.wait_at_least(calls_failed=1)
    with serve(port=collector.port) as collector:
        d.wait(confirmed=100)
        assert len(collector.ids()) == 100


def test_plain_server(drive: Start, authority: Authority) -> None:
    with Collector() as collector:
        check_kept(drive(collector.address, tls="on", tls_ca=authority.root), "")


def test_plain_client(drive: Start, serve: Serve) -> None:
    with serve() as collector:
        check_kept(drive(collector.address), "")


def test_client_certificate(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve(ask=True) as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root, **authority.client("shop.example.org"))
        d.push(100)
        d.wait(confirmed=100)
        assert collector.peer_names == {b"shop.example.org"}


def test_missing_client_certificate(drive: Start, serve: Serve, authority: Authority) -> None:
    with serve(ask=True) as collector:
        check_kept(drive(collector.address, tls="on", tls_ca=authority.root), "")
        assert collector.ids() == []


def test_wrong_client_certificate(drive: Start, serve: Serve, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(trustme.CA(), tmp_path / "other")
    with serve(ask=True) as collector:
        ours = other.client("shop.example.org")
        check_kept(drive(collector.address, tls="on", tls_ca=authority.root, **ours), "")
        assert collector.ids() == []


def test_renewed_client_certificate(drive: Start, serve: Serve, authority: Authority) -> None:
    """The files are read again: no restart is needed."""
    stranger = Authority(trustme.CA(), authority.directory)
    ours = stranger.client("shop.example.org")
    with serve(ask=True) as collector:
        d = drive(collector.address, tls="on", tls_ca=authority.root, **ours)
        d.push(100)
        d.wait_at_least(calls_failed=1)
        authority.client("shop.example.org")
        d.wait(confirmed=100)


def test_rest(drive: Start, authority: Authority) -> None:
    collector = RestCollector()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("oap.example.org").configure_cert(context)
    authority.ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    collector.server.socket = context.wrap_socket(collector.server.socket, server_side=True)
    try:
        ours = authority.client("shop.example.org")
        tls = {"tls": "on", "tls_ca": authority.root, "tls_server_name": "oap.example.org", **ours}
        d = drive(collector.address, protocol="http", **tls)
        for total in range(1, 11):
            d.push(1)
            d.wait(confirmed=total)
        headers, _ = collector.of("/v3/segments")[0]
        assert headers["host"] == f"oap.example.org:{collector.server.server_port}"
        assert collector.connections <= 2
        wait_until(lambda: len(collector.of("/v3/management/keepAlive")) == 1, lambda: collector.requests)
    finally:
        collector.close()


def test_call_that_libcurl_begins_anew(drive: Start, authority: Authority) -> None:
    """What counts as sent is of the second connection alone: else the OK there would confirm nothing."""

    def refuse_after_the_body(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            confirm(peer, event)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    with RawServer(confirm, refuse_after_the_body, tls=context) as server:
        d = drive(server.address, tls="on", tls_ca=authority.root)
        d.push(10)
        d.wait(confirmed=10)
        d.push(10)
        counters = d.wait(confirmed=20)
    assert counters["calls_failed"] == 0
    assert len(server.peers) == 2
