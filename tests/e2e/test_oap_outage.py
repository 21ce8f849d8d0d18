# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP behind TLS and a token, over REST, of an older version, stopped, and killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Origin, Skystitch, Stage, free_port, until
from harness.pki import Pki
from load import Load
from oap import Oap

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(400)]

CONFIRMED = "skystitch_segments_confirmed_total"
DROPPED = "skystitch_segments_dropped_total"
TOKEN = "let me in"


def proxy_for(stage: Stage, service: str, **reporter: Any) -> Skystitch:
    config = {"reporter": reporter}
    return Skystitch(
        stage, Origin(stage, name=f"origin-{service}").address, name=service, service=service, config=config
    )


def check_arrives(proxy: Skystitch, oap: Oap) -> None:
    for _ in range(3):
        assert proxy.get("/users/42").status_code == 200
    until(lambda: proxy.metric(CONFIRMED) == 3, "all are confirmed", 60)
    assert proxy.metric(DROPPED) == 0
    until(lambda: len(oap.trace_ids(proxy.service)) == 3, "OAP has stored the three traces", 120)


@pytest.fixture(scope="module")
def pki(module_stage: Stage) -> Pki:
    return Pki(module_stage.directory)


@pytest.fixture(scope="module")
def secured(module_stage: Stage, pki: Pki) -> Iterator[tuple[Oap, dict[str, Any]]]:
    """An OAP that asks for a certificate and a token, and what gets in."""
    own, ours = pki.sign("oap", "DNS:localhost", "IP:127.0.0.1"), pki.sign("skystitch", "DNS:skystitch")
    port = free_port()
    env = {
        "SW_RECEIVER_GRPC_PORT": str(port),
        "SW_RECEIVER_GRPC_SSL_ENABLED": "true",
        "SW_RECEIVER_GRPC_SSL_KEY_PATH": str(own.key),
        "SW_RECEIVER_GRPC_SSL_CERT_CHAIN_PATH": str(own.certificate),
        "SW_RECEIVER_GRPC_SSL_TRUSTED_CAS_PATH": str(pki.authority.certificate),
        "SW_AUTHENTICATION": TOKEN,
    }
    oap = Oap(module_stage, name="secured-oap", env=env)
    reporter = {
        "backends": [f"127.0.0.1:{port}"],
        "authentication": TOKEN,
        "tls": {"ca": str(pki.authority.certificate), **ours.config()},
    }
    yield oap, reporter
    oap.close()


def test_certificate_and_token(stage: Stage, secured: tuple[Oap, dict[str, Any]]) -> None:
    oap, reporter = secured
    check_arrives(proxy_for(stage, "both", **reporter), oap)


def test_compressed(stage: Stage, secured: tuple[Oap, dict[str, Any]]) -> None:
    oap, reporter = secured
    check_arrives(proxy_for(stage, "compressed", **reporter, gzip=True), oap)


@pytest.mark.parametrize("token", ["", "let me out"])
def test_wrong_token(stage: Stage, secured: tuple[Oap, dict[str, Any]], token: str) -> None:
    _, reporter = secured
    proxy = proxy_for(stage, "stranger", **{**reporter, "authentication": token})
    proxy.get("/")
    until(lambda: "check reporter.authentication" in proxy.log(), "the log says what to look at", 30)
    assert "PERMISSION_DENIED" in proxy.log()
    until(lambda: proxy.metric("skystitch_backlog_segments") == 1, "the segment is kept")
    assert proxy.metric(DROPPED) == 0


def test_no_certificate(stage: Stage, secured: tuple[Oap, dict[str, Any]], pki: Pki) -> None:
    _, reporter = secured
    proxy = proxy_for(stage, "bare", **{**reporter, "tls": {"ca": str(pki.authority.certificate)}})
    proxy.get("/")
    until(lambda: proxy.metric("skystitch_backend_calls_total", result="failed") > 0, "calls fail", 30)
    assert proxy.metric("skystitch_backend_up") == 0
    until(lambda: proxy.metric("skystitch_backlog_segments") == 1, "the segment is kept")


def test_authority_that_did_not_sign_it(stage: Stage, secured: tuple[Oap, dict[str, Any]]) -> None:
    _, reporter = secured
    other = Pki(stage.directory, "other")
    proxy = proxy_for(stage, "wary", **{**reporter, "tls": {"ca": str(other.authority.certificate)}})
    proxy.get("/")
    until(lambda: "SSL certificate problem" in proxy.log(), "the log says why", 30)
    until(lambda: proxy.metric("skystitch_backlog_segments") == 1, "the segment is kept")


@pytest.fixture(scope="module")
def plain(module_stage: Stage) -> Oap:
    return Oap(module_stage)


def test_rest(stage: Stage, plain: Oap) -> None:
    check_arrives(proxy_for(stage, "rest", protocol="http", backends=[f"127.0.0.1:{plain.rest_port}"]), plain)


def test_older_oap(stage: Stage) -> None:
    oap = Oap(stage, name="older-oap", version="9.6.0")
    check_arrives(proxy_for(stage, "older", backends=[oap.address]), oap)


def check_nothing_is_lost(proxy: Skystitch, load: Load) -> None:
    load.stop()
    assert load.failures == []
    assert set(load.statuses) == {200}
    until(lambda: proxy.metric(CONFIRMED) == load.done, f"{load.done} are confirmed", 120)
    assert proxy.metric(DROPPED) == 0


def test_stopped_for_a_while(stage: Stage, plain: Oap) -> None:
    """It accepts connections and reads nothing."""
    spool = {"path": str(stage.path("spool"))}
    proxy = proxy_for(stage, "patient", backends=[plain.address], memory="8MiB", spool=spool)
    load = Load(proxy.port, clients=2)
    until(lambda: proxy.metric(CONFIRMED) > 100, "segments arrive", 60)
    plain.signal(signal.SIGSTOP)
    until(lambda: proxy.metric("skystitch_spool_segments") > 500, "memory is full", 60)
    plain.signal(signal.SIGCONT)
    check_nothing_is_lost(proxy, load)


def test_killed_and_started_again(stage: Stage, plain: Oap) -> None:
    spool = {"path": str(stage.path("spool"))}
    proxy = proxy_for(stage, "steady", backends=[plain.address], memory="8MiB", spool=spool)
    load = Load(proxy.port, clients=2)
    until(lambda: proxy.metric(CONFIRMED) > 100, "segments arrive", 60)
    plain.kill()
    until(lambda: proxy.metric("skystitch_spool_segments") > 500, "memory is full", 60)
    time.sleep(1)
    plain.start()
    check_nothing_is_lost(proxy, load)
