# SPDX-License-Identifier: Apache-2.0
"""Against an HTTP server: the REST receiver's requests and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.protobuf import json_format
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject

from reporter.drive import Drive, wait_until

Start = Callable[..., Drive]


class RestCollector:
    """Answers 200, or what `judge` says of a path and a body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], object]] = []
        self.connections = 0
        self.judge: Callable[[str, object], int] = lambda path, body: 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                collector.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = collector.judge(self.path, body)
                if status == 200:
                    collector.requests.append(
                        (self.path, {key.lower(): value for key, value in self.headers.items()}, body)
                    )
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def of(self, path: str) -> list[tuple[dict[str, str], object]]:
        return [(headers, body) for seen, headers, body in self.requests if seen == path]

    def segments(self) -> list[SegmentObject]:
        bodies = [body for _, body in self.of("/v3/segments")]
        return [json_format.ParseDict(one, SegmentObject()) for body in bodies for one in body]


@pytest.fixture
def collector() -> Iterator[RestCollector]:
    one = RestCollector()
    yield one
    one.close()


def test_segments_arrive_whole(drive: Start, collector: RestCollector) -> None:
    d = drive(collector.address, protocol="http", token="secret")
    d.push(1000)
    d.wait(confirmed=1000)
    segments = collector.segments()
    assert sorted(one.traceSegmentId for one in segments) == sorted(f"segment-{i}" for i in range(1000))
    span = segments[0].spans[0]
    assert (span.parentSpanId, span.operationName, span.spanLayer) == (-1, "/x", 3)
    headers = collector.of("/v3/segments")[0][0]
    assert headers["content-type"] == "application/json"
    assert headers["authentication"] == "secret"


def test_says_who_it_is(drive: Start, collector: RestCollector) -> None:
    drive(collector.address, protocol="http", heartbeat_ms=100)
    wait_until(lambda: len(collector.of("/v3/management/keepAlive")) >= 3, lambda: collector.requests)
    _, properties = collector.of("/v3/management/reportProperties")[0]
    assert properties["properties"][0] == {"key": "language", "value": "python"}
    _, ping = collector.of("/v3/management/keepAlive")[0]
    assert (ping["service"], ping["serviceInstance"]) == ("drive", "drive@host")


def test_connection_is_kept(drive: Start, collector: RestCollector) -> None:
    d = drive(collector.address, protocol="http")
    for count in range(1, 11):
        d.push(1)
        d.wait(confirmed=count)
    assert collector.connections <= 2


@pytest.mark.parametrize("status", [400, 413, 500])
def test_poison_is_dropped_alone(drive: Start, collector: RestCollector, status: int) -> None:
    def judge(path: str, body: object) -> int:
        is_bad = "segments" in path and any(one["spans"][0]["operationName"] == "poison" for one in body)
        return status if is_bad else 200

    collector.judge = judge
    d = drive(collector.address, protocol="http", interval_ms=200)
    d.push(50)
    d.push(1, operation="poison")
    d.push(50)
    d.wait(confirmed=100, dropped_refused=1)


@pytest.mark.parametrize("status", [301, 408, 429, 502, 503])
def test_kept_and_sent_again(drive: Start, collector: RestCollector, status: int) -> None:
    left = [1]

    def judge(path: str, body: object) -> int:
        if "segments" not in path or left[0] == 0:
            return 200
        left[0] -= 1
        return status

    collector.judge = judge
    d = drive(collector.address, protocol="http")
    d.push(100)
    d.wait(confirmed=100, calls_failed=1)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_kept_and_tried_slowly(drive: Start, collector: RestCollector, status: int) -> None:
    collector.judge = lambda path, body: status if "segments" in path else 200
    d = drive(collector.address, protocol="http")
    d.push(100)
    d.wait_at_least(calls_failed=1)
    assert d.stop(0)["dropped_stop"] == 100


def test_bodies_stay_below_the_limit_of_oap(drive: Start, collector: RestCollector) -> None:
    d = drive(collector.address, protocol="http", batch=64 << 20, memory=1 << 30, interval_ms=500)
    d.push(20000, 100)
    d.wait(confirmed=20000)
    lengths = [int(headers["content-length"]) for headers, _ in collector.of("/v3/segments")]
    assert 1 << 20 < max(lengths) < 10 << 20


def test_no_server(drive: Start) -> None:
    d = drive("127.0.0.1:1", protocol="http")
    d.push(10)
    d.wait_at_least(calls_failed=1)
    assert d.stop(0)["dropped_stop"] == 10


def test_local(drive: Start) -> None:
    d = drive(protocol="local")
    d.push(10)
    d.wait(confirmed=10, local_segments=10)
