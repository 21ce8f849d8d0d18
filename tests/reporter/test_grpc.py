# SPDX-License-Identifier: Apache-2.0
"""Against a real gRPC server: what arrives, and what each status does to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject

from harness.process import free_port
from reporter.drive import Drive, wait_until
from reporter.grpc_collector import Collector, take_all

Start = Callable[..., Drive]
STATUSES = {code.value[0]: code for code in grpc.StatusCode}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


def abort_first(count: int, status: int, text: str = "not now") -> Callable:
    """Reads and refuses the first calls, then takes all."""
    left = [count]

    def collect(collector: Collector, segments: Iterator[SegmentObject], context: grpc.ServicerContext) -> None:
        if left[0] > 0:
            left[0] -= 1
            list(segments)
            context.abort(STATUSES[status], text)
        take_all(collector, segments, context)

    return collect


def test_segments_arrive_whole(drive: Start, collector: Collector) -> None:
    d = drive(collector.address)
    d.push(1000)
    d.wait(confirmed=1000)
    assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(1000))
    segment = collector.segments[0]
    assert (segment.service, segment.serviceInstance) == ("drive", "drive@host")
    span = segment.spans[0]
    assert (span.spanId, span.parentSpanId, span.operationName, span.componentId) == (0, -1, "/x", 7001)
    assert span.tags[0].value == "x" * 100


def test_compressed_segments_arrive_whole(drive: Start, collector: Collector) -> None:
    d = drive(collector.address, gzip="on")
    d.push(500)
    d.push(1, 1 << 20)
    counters = d.wait(confirmed=501)
    assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(501))
    assert {len(segment.spans[0].tags[0].value) for segment in collector.segments} == {100, 1 << 20}
    assert counters["bytes_sent"] < 500 * 150


def test_says_who_it_is(drive: Start, collector: Collector) -> None:
    d = drive(collector.address, token="let me in", heartbeat_ms=100, properties_every=3)
    d.push(1)
    d.wait(confirmed=1)
    wait_until(lambda: collector.calls["properties"] >= 2, lambda: collector.calls)
    beats = [name for name in collector.order if name != "collect"]
    assert beats[:2] == ["properties", "keepAlive"]
    # A beat that comes before the answer to the last one adds nothing to it.
    assert 1 <= beats.index("properties", 1) - 1 <= 3
    for metadata in collector.metadata.values():
        assert metadata["authentication"] == "let me in"
        assert metadata["user-agent"].startswith("grpc-c-skystitch/")
    for message in (collector.properties[0], collector.pings[0]):
        assert (message.service, message.serviceInstance, message.layer) == ("drive", "drive@host", "")
    assert [(pair.key, pair.value) for pair in collector.properties[0].properties] == [
        ("language", "python"),
        ("hostname", "h\N{REPLACEMENT CHARACTER}"),
    ]


def test_no_token_no_field(drive: Start, collector: Collector) -> None:
    d = drive(collector.address)
    d.push(1)
    d.wait(confirmed=1)
    assert "authentication" not in collector.metadata["collect"]


def test_many_batches_in_a_row(drive: Start, collector: Collector) -> None:
    d = drive(collector.address, batch=2000)
    d.push(500)
    counters = d.wait(confirmed=500)
    assert collector.calls["collect"] > 50
    assert counters["calls_failed"] == 0


def test_large_segments(drive: Start) -> None:
    with Collector(max_receive_message_length=4 << 20) as collector:
        d = drive(collector.address, memory=1 << 30)
        d.push(20, 1 << 20)
        d.push(20, 2 << 20)
        d.wait(confirmed=40)
        assert {len(segment.spans[0].tags[0].value) for segment in collector.segments} == {1 << 20, 2 << 20}


@pytest.mark.parametrize("status", [1, 4, 8, 10, 14])
def test_kept_and_sent_again(drive: Start, collector: Collector, status: int) -> None:
    collector.collect_by = abort_first(1, status)
    d = drive(collector.address)
    d.push(100)
    counters = d.wait(confirmed=100)
    assert counters["calls_failed"] == 1
    assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(100))


@pytest.mark.parametrize("status", [2, 3, 5, 6, 9, 11, 13, 15])
def test_poison_is_dropped_alone(drive: Start, collector: Collector, status: int) -> None:
    def collect(collector: Collector, segments: Iterator[SegmentObject], context: grpc.ServicerContext) -> None:
        batch = list(segments)
        if any(segment.spans[0].operationName == "poison" for segment in batch):
            context.abort(STATUSES[status], "I choke")
        for segment in batch:
            collector.add(segment)

    collector.collect_by = collect
    d = drive(collector.address, interval_ms=200)
    d.push(70)
    d.push(1, operation="poison")
    d.push(30)
    d.wait(confirmed=100, dropped_refused=1)
    assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(101) if i != 70)


@pytest.mark.parametrize("status", [7, 12, 16])
def test_kept_and_tried_slowly(drive: Start, collector: Collector, status: int) -> None:
    collector.collect_by = abort_first(1000, status)
    d = drive(collector.address)
    d.push(100)
    d.wait_at_least(calls_failed=1)
    # The pause is 30 s at least: in ten intervals no further call comes.
    seen: list[int] = []
    wait_until(lambda: len(seen) > 100 or seen.append(d.counters()["backlog_segments"]), lambda: seen)
    assert collector.calls["collect"] == 1
    assert d.stop(0)["dropped_stop"] == 100


def test_too_large_for_the_server(drive: Start) -> None:
    with Collector(max_receive_message_length=5000) as collector:
        d = drive(collector.address, interval_ms=200)
        d.push(20)
        d.push(1, 6000)
        d.push(20)
        d.wait(confirmed=40, dropped_refused=1)


def test_management_that_is_not_there(drive: Start, collector: Collector) -> None:
    collector.manage_by = lambda context: context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such thing")
    d = drive(collector.address)
    d.push(10)
    d.wait(confirmed=10)


def test_answer_before_the_body_was_read(drive: Start, collector: Collector) -> None:
    """A wrong token is told while most of 8 MB is still to be sent: no waiting for a deadline."""
    collector.collect_by = lambda collector, segments, context: context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "who are you?"
    )
    d = drive(collector.address, batch=8 << 20, memory=256 << 20, interval_ms=200)
    d.push(8000, 1000)
    d.wait_at_least(calls_failed=1)
    counters = d.stop(0)
    assert counters["confirmed"] == 0
    assert counters["dropped_stop"] + counters["dropped_ring"] == 8000


def test_server_that_never_answers(drive: Start, collector: Collector) -> None:
    def collect(collector: Collector, segments: Iterator[SegmentObject], context: grpc.ServicerContext) -> None:
        collector.released.wait()

    collector.collect_by = collect
    d = drive(collector.address)
    d.push(100)
    wait_until(lambda: collector.calls["collect"] == 1, lambda: collector.calls)
    d.push(50)
    counters = d.stop(100)
    assert counters["dropped_stop"] == 150


def test_server_that_comes_later(drive: Start) -> None:
    port = free_port()
    d = drive(f"127.0.0.1:{port}")
    d.push(100)
    d.wait_at_least(calls_failed=1)
    assert not d.counters()["connected"]
    with Collector(port) as collector:
        d.wait(confirmed=100)
        assert len(collector.ids()) == 100
        assert d.counters()["connected"]


def test_server_that_restarts(drive: Start) -> None:
    d = None
    port = free_port()
    total = 0
    for _ in range(3):
        with Collector(port) as collector:
            d = d or drive(collector.address)
            d.push(200)
            total += 200
            d.wait(confirmed=total)
        d.push(100)
        total += 100
        failed = d.counters()["calls_failed"]
        d.wait_at_least(calls_failed=failed + 1)
    with Collector(port):
        d.wait(confirmed=total)


def test_next_backend_and_back(drive: Start) -> None:
    port = free_port()
    with Collector() as second:
        d = drive(f"127.0.0.1:{port}", second.address, heartbeat_ms=200)
        d.push(100)
        d.wait(confirmed=100)
        assert len(second.ids()) == 100
        with Collector(port) as first:
            wait_until(lambda: "answers again" in d.log(), d.log)
            before = second.calls["collect"]
            d.push(100)
            d.wait(confirmed=200)
            assert len(first.ids()) == 100
            assert second.calls["collect"] == before


def test_memory_is_bounded_while_the_server_is_away(drive: Start) -> None:
    port = free_port()
    memory = 1 << 20
    d = drive(f"127.0.0.1:{port}", memory=memory, interval_ms=10)
    for _ in range(40):
        d.push(50, 1000)
        assert d.settle()["backlog_bytes"] <= memory
    assert d.counters()["dropped_backlog"] > 100
    with Collector(port) as collector:
        d.wait(backlog_segments=0)
        # The newest are what was kept.
        assert "segment-1999" in collector.ids()
        assert "segment-0" not in collector.ids()


def test_stop_flushes(drive: Start, collector: Collector) -> None:
    d = drive(collector.address, interval_ms=3600000)
    d.push(1000)
    counters = d.stop(15000)
    assert counters["confirmed"] == 1000
    assert len(collector.ids()) == 1000
