# SPDX-License-Identifier: Apache-2.0
"""Handshakes with clients: those that fail, each counted by its reason, and the certificates of both sides."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from harness import Gunicorn, Origin, Pair, Pki, RawClient, Stage, until
from harness.skystitch import run
from tls_site import GET, TlsSite, versions


@pytest.fixture(scope="module")
def pki(module_stage: Stage) -> Pki:
    return Pki(module_stage.directory)


@pytest.fixture(scope="module")
def server(pki: Pki) -> Pair:
    return pki.sign("server", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def site(module_stage: Stage, server: Pair) -> Iterator[TlsSite]:
    app = Gunicorn(module_stage, "flask_app:app", worker_class="gthread")
    return TlsSite(module_stage, app.address, server.config())


def counted(site: TlsSite, reason: str, before: float) -> None:
    until(lambda: site.failed(reason) == before + 1, f"counted as {reason}")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.proxy.admin_port, timeout=10)) as admin:
        admin.request("GET", "/livez")
        assert admin.getresponse().status == 200


def test_plain_http_to_the_port(site: TlsSite) -> None:
    before = site.failed("plain_http")
    with RawClient("127.0.0.1", site.proxy.port) as client:
        client.send(GET)
        assert client.rest() == b""
    counted(site, "plain_http", before)


def test_what_is_no_tls(site: TlsSite) -> None:
    before = site.failed("malformed")
    with RawClient("127.0.0.1", site.proxy.port) as client:
        client.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        client.rest()
    counted(site, "malformed", before)


def test_a_client_that_leaves_in_the_handshake(site: TlsSite) -> None:
    before = site.failed("closed")
    with RawClient("127.0.0.1", site.proxy.port) as client:
        client.send(b"\x16\x03\x01")
    counted(site, "closed", before)


def test_a_handshake_that_stands_still(stage: Stage, server: Pair) -> None:
    site = TlsSite(stage, Origin(stage).address, server.config(), {"timeouts": {"handshake": "200ms"}})
    with RawClient("127.0.0.1", site.proxy.port) as silent, RawClient("127.0.0.1", site.proxy.port) as started:
        started.send(b"\x16\x03\x01\x02\x00\x01")
        assert silent.closed()
        assert started.closed()
    until(lambda: site.failed("timeout") == 2, "counted")


@versions
def test_a_client_that_does_not_trust_us(site: TlsSite, pki: Pki, version: ssl.TLSVersion) -> None:
    before = site.failed("refused")
    with pytest.raises(ssl.SSLCertVerificationError):
        site.raw(pki.context(version, trusting=False))
    counted(site, "refused", before)


def test_a_version_of_yesterday(site: TlsSite) -> None:
    before = site.failed("no_common")
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{site.proxy.port}",
        "-tls1_1",
        "-cipher",
        "ALL@SECLEVEL=0",
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert "alert protocol version" in done.stderr
    counted(site, "no_common", before)


def test_renegotiation_is_refused(site: TlsSite, pki: Pki) -> None:
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{site.proxy.port}",
        "-tls1_2",
        "-CAfile",
        str(pki.authority.certificate),
    ]
    done = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=30)
    assert "no renegotiation" in done.stderr


# Certificates.


@versions
def test_certificate_by_name(stage: Stage, pki: Pki, server: Pair, version: ssl.TLSVersion) -> None:
    pairs = [server, pki.sign("shop", "DNS:shop.test"), pki.sign("wild", "DNS:*.wild.test")]
    tls = {"certificates": [pair.config() for pair in pairs]}
    site = TlsSite(stage, Origin(stage).address, tls)
    names = {"localhost": "server", "shop.test": "shop", "a.wild.test": "wild"}
    for name, common in names.items():
        with site.raw(pki.context(version), server_name=name) as client:
            assert ((("commonName", common),),) == client.sock.getpeercert()["subject"]
            client.send(GET)
            assert client.response()[0].status == 200
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        site.raw(pki.context(version), server_name="other.test")


def exchange(site: TlsSite, context: ssl.SSLContext) -> int:
    with site.raw(context) as client:
        client.send(GET)
        return client.response()[0].status


@versions
def test_client_certificates(stage: Stage, pki: Pki, server: Pair, version: ssl.TLSVersion) -> None:
    stranger = Pki(stage.directory, "strangers").sign("stranger")
    client = pki.sign("client")
    site = TlsSite(stage, Origin(stage).address, {**server.config(), "client_ca": str(pki.authority.certificate)})
    assert exchange(site, pki.context(version, client)) == 200
    with pytest.raises(ssl.SSLError, match="ALERT"):
        exchange(site, pki.context(version))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        exchange(site, pki.context(version, stranger))
    until(lambda: site.failed("client_certificate") == 2, "counted")


@versions
def test_client_certificates_if_there_are(stage: Stage, pki: Pki, server: Pair, version: ssl.TLSVersion) -> None:
    stranger = Pki(stage.directory, "strangers").sign("stranger")
    tls = {**server.config(), "client_ca": str(pki.authority.certificate), "client_auth": "optional"}
    site = TlsSite(stage, Origin(stage).address, tls)
    assert exchange(site, pki.context(version, pki.sign("client"))) == 200
    assert exchange(site, pki.context(version)) == 200
    with pytest.raises(ssl.SSLError, match="ALERT"):
        exchange(site, pki.context(version, stranger))


@pytest.mark.parametrize("arguments", [["--check"], []], ids=["check", "start"])
def test_defective_files(stage: Stage, pki: Pki, server: Pair, arguments: list[str]) -> None:
    path = stage.path("bad.yaml")
    listen = [{"address": ":1", "tls": {"certificate": str(server.certificate), "key": str(pki.authority.key)}}]
    upstreams = {"app": {"servers": ["127.0.0.1:1"]}}
    path.write_text(json.dumps({"listen": listen, "upstreams": upstreams, "admin": {"listen": "off"}}))
    done = run("--config", str(path), *arguments)
    assert done.returncode == (2 if "--check" in arguments else 1)
    lines = [line for line in done.stderr.splitlines() if " error " in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].endswith(
        f"listen: :1: key {pki.authority.key}: does not belong to the certificate; "
        "name the key that the certificate was made for"
    )
