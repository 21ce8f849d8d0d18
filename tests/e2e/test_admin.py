# SPDX-License-Identifier: Apache-2.0
"""The admin listener: probes, metrics, traces, the configuration, and segments of others."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject

from harness import Collector, Origin, RawClient, Site, Skystitch, Stage, until
from harness.collector import decode
from harness.process import ROOT


@pytest.fixture
def proxy(stage: Stage) -> Iterator[Skystitch]:
    return Skystitch(stage, Origin(stage).address)


def foreign_segment(**changes: Any) -> dict[str, Any]:
    """As another agent's HTTP mode would report it."""
    now = int(time.time() * 1000)
    span = {
        "spanId": 0,
        "parentSpanId": -1,
        "startTime": now - 20,
        "endTime": now,
        "operationName": "GET:/elsewhere",
        "spanType": "Entry",
        "spanLayer": "Http",
        "componentId": 7001,
        "isError": False,
        "tags": [{"key": "http.method", "value": "GET"}],
        "logs": [],
        "refs": [],
    }
    segment = {
        "traceId": "trace-of-others",
        "traceSegmentId": "segment-of-others",
        "service": "other",
        "serviceInstance": "other-1",
        "spans": [span],
        "isSizeLimited": False,
    }
    return {**segment, **changes}


def test_probes(proxy: Skystitch) -> None:
    assert proxy.admin("/livez").status_code == 200
    assert proxy.admin("/readyz").status_code == 200
    assert proxy.admin("/nothing").status_code == 404


def test_metrics(proxy: Skystitch) -> None:
    """The exposition format: each name has HELP and TYPE before its samples; what is served is counted."""
    for _ in range(3):
        proxy.get("/users/7")
    proxy.get("/logo.png")
    answer = proxy.admin("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    described: dict[str, set[str]] = {}
    for line in answer.text.splitlines():
        if comment := re.match(r"# (HELP|TYPE) (\S+) ", line):
            kind, name = comment.groups()
            assert kind not in described.setdefault(name, set()), f"{kind} of {name} stands twice"
            described[name].add(kind)
        else:
            name = re.match(r"\w+", line)[0]  # type: ignore[index]
            assert described.get(name) == {"HELP", "TYPE"}, f"{name} is not described before its samples"
    assert proxy.metric("skystitch_requests_total") == 4
    assert proxy.metric("skystitch_responses_total", **{"class": "2xx"}) == 4
    assert proxy.metric("skystitch_segments_made_total") == 3
    until(lambda: proxy.metric("skystitch_segments_total") == 3, "the reporter has them")


def test_traces(stage: Stage) -> None:
    """Without a backend the newest segments are kept here, in the form of the protocol's JSON."""
    site = Site(stage, "flask_app:app", config={"reporter": {"backends": []}})
    site.proxy.get("/users/7")
    site.proxy.get("/boom/x")
    traces = until(
        lambda: (rows := site.proxy.admin("/api/traces").json()["traces"]) and len(rows) == 2 and rows, "two traces"
    )
    newest, first = traces
    assert (newest["operation"], newest["isError"], newest["services"]) == ("GET:/boom/<word>", True, ["shop"])
    assert (first["operation"], first["isError"], first["spans"]) == ("GET:/users/<int:id>", False, 2)
    answer = site.proxy.admin(f"/api/traces/{newest['traceId']}")
    assert answer.headers["Content-Type"].startswith("application/json")
    segments = [decode(ParseDict(found, SegmentObject())) for found in answer.json()["segments"]]
    assert len(segments) == 1
    assert segments[0].trace == newest["traceId"]
    assert segments[0].span(1).logs[0].data["error.kind"] == "ValueError"
    assert site.proxy.admin("/api/traces/unknown").status_code == 404
    assert len(site.proxy.admin("/api/traces?limit=1").json()["traces"]) == 1


def test_traces_are_off_with_a_backend(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, collector=Collector(stage))
    answer = proxy.admin("/api/traces")
    assert answer.status_code == 404
    assert "local.enabled" in answer.text, "it says how to have them"


def test_the_trace_page_of_a_hostile_name(proxy: Skystitch) -> None:
    """Names come from clients: JSON must stay JSON, whatever they hold."""
    with proxy.raw() as client:
        client.send(b'GET /<script>"\\\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n')
        assert client.response()[0].status in (200, 400)
    with proxy.raw() as client:
        client.send(b"GET /%3Cscript%3E%22 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response()[0].status == 200
    traces = until(lambda: proxy.admin("/api/traces").json()["traces"], "a trace")
    for row in traces:
        assert proxy.admin(f"/api/traces/{row['traceId']}").json()["segments"]


def test_the_page_of_a_trace_loads_from_here_alone(proxy: Skystitch) -> None:
    page = proxy.admin("/traces/whatever")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path, kind in re.findall(r'(?:src|href)="(/\w+\.(\w+))"', page.text):
        loaded = proxy.admin(path)
        assert loaded.status_code == 200
        assert loaded.headers["Content-Type"].startswith({"css": "text/css", "js": "text/javascript"}[kind])
        assert loaded.text == (ROOT / "proxy" / "admin" / "page" / path[1:]).read_text()
    assert page.text.count("/script.js") == page.text.count("/style.css") == 1


def test_segments_of_others_are_kept(proxy: Skystitch) -> None:
    answer = proxy.admin("/v3/segments", "POST", json=[foreign_segment()])
    assert answer.status_code == 200
    found = until(lambda: proxy.admin("/api/traces/trace-of-others"), "the trace")
    segment = decode(ParseDict(found.json()["segments"][0], SegmentObject()))
    assert (segment.service, segment.entry.operation) == ("other", "GET:/elsewhere")


def test_segments_of_others_are_passed_on(stage: Stage) -> None:
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage).address, collector=collector)
    assert proxy.admin("/v3/segments", "POST", json=[foreign_segment(), foreign_segment()]).status_code == 200
    segments = collector.wait(2)
    assert {segment.service for segment in segments} == {"other"}
    assert segments[0].entry.tags == (("http.method", "GET"),)


BAD_BODIES = ["", "{}", "[1]", '[{"spans": 3}]', "[", '[{"traceId": "x", "spans": []}]', "[" * 5000]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_bad_segments_are_refused(proxy: Skystitch, body: str) -> None:
    answer = proxy.admin("/v3/segments", "POST", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.text.strip(), "it says what is wrong"
    assert proxy.admin("/livez").status_code == 200
    assert proxy.admin("/api/traces").json()["traces"] == []


def test_one_bad_segment_refuses_the_batch(proxy: Skystitch) -> None:
    """All or nothing: the sender knows what to do with it."""
    batch = [foreign_segment(), foreign_segment(spans="none")]
    assert proxy.admin("/v3/segments", "POST", json=batch).status_code == 400
    assert proxy.admin("/api/traces/trace-of-others").status_code == 404


def test_the_configuration_without_its_secrets(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"stitch": {"token": "s3cret-token"}})
    answer = proxy.admin("/api/config")
    assert "s3cret" not in answer.text
    assert answer.json()["agent"]["service"] == "shop"


def test_a_page_elsewhere_cannot_talk_to_it(proxy: Skystitch) -> None:
    """DNS rebinding: a browser that was lured here sends a Host that is not ours."""
    for path in ("/api/traces", "/metrics", "/api/config"):
        assert proxy.admin(path, headers={"Host": "evil.test"}).status_code in (400, 403, 421), path
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert proxy.admin("/livez", headers={"Host": f"{host}:{proxy.admin_port}"}).status_code == 200, host


def test_admin_refuses_ambiguous_requests_too(proxy: Skystitch) -> None:
    with RawClient("127.0.0.1", proxy.admin_port) as client:
        client.send(
            b"POST /v3/segments HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert client.response()[0].status == 400


def test_off(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"admin": {"listen": "off"}}, start=False)
    proxy.spawn()

    def serves() -> bool:
        try:
            return proxy.get("/").status_code == 200
        except OSError:
            return False

    proxy.ready(serves, timeout=20)
    with pytest.raises(OSError, match="refused"):
        RawClient("127.0.0.1", proxy.admin_port)


def test_oap_is_told_who_we_are(stage: Stage) -> None:
    collector = Collector(stage)
    config = {"reporter": {"heartbeat": "1s", "authentication": "t0ken"}}
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config=config)
    service, instance, properties = until(lambda: collector.properties, "properties")[0]
    assert (service, instance) == ("shop", proxy.instance)
    assert {"OS Name", "hostname", "Process No.", "language"} <= set(properties)
    assert properties["Process No."] == str(proxy.pid)
    until(lambda: collector.pings["shop", proxy.instance] >= 2, "pings")
    assert collector.tokens == {"t0ken"}
