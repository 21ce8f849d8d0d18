# SPDX-License-Identifier: Apache-2.0
"""A SkyWalking collector made of the upstream agent's own protobuf and gRPC classes.

It keeps what it receives and can be told to misbehave: to refuse connections, to accept calls and
never answer, or to answer a gRPC status.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from skywalking.protocol.common.Command_pb2 import Commands
from skywalking.protocol.language_agent.Tracing_pb2 import (
    RefType,
    SegmentObject,
    SpanLayer,
    SpanObject,
    SpanType,
)
from skywalking.protocol.language_agent.Tracing_pb2_grpc import (
    TraceSegmentReportServiceServicer,
    add_TraceSegmentReportServiceServicer_to_server,
)
from skywalking.protocol.management.Management_pb2_grpc import (
    ManagementServiceServicer,
    add_ManagementServiceServicer_to_server,
)

from harness.process import Stage, free_port, until
from harness.records import Records


@dataclass(frozen=True)
class Ref:
    type: str
    trace: str
    segment: str
    span: int
    service: str
    instance: str
    endpoint: str
    address: str


@dataclass(frozen=True)
class Log:
    at_ms: int
    data: dict[str, str]


@dataclass(frozen=True)
class Span:
    id: int
    parent: int
    type: str
    layer: str
    operation: str
    peer: str
    component: int
    error: bool
    start_ms: int
    end_ms: int
    tags: tuple[tuple[str, str], ...]
    logs: tuple[Log, ...]
    refs: tuple[Ref, ...]
    skip_analysis: bool = False

    def tag(self, key: str) -> str | None:
        """The tag's value, None when absent; a key that stands twice is a failure."""
        values = [value for name, value in self.tags if name == key]
        assert len(values) <= 1, f"tag {key} stands {len(values)} times"
        return values[0] if values else None


@dataclass(frozen=True)
class Segment:
    trace: str
    id: str
    service: str
    instance: str
    size_limited: bool
    spans: tuple[Span, ...]

    @property
    def entry(self) -> Span:
        return self.span(0)

    def span(self, number: int) -> Span:
        found = [span for span in self.spans if span.id == number]
        assert len(found) == 1, f"{len(found)} spans with id {number} in {self}"
        return found[0]

    def of_type(self, kind: str) -> list[Span]:
        return [span for span in self.spans if span.type == kind]

    def path(self) -> str:
        """The path of the request that the segment is about, from the entry's URL."""
        url = self.entry.tag("http.url") or ""
        return "/" + url.split("://", 1)[-1].partition("/")[2]


def _span(message: SpanObject) -> Span:
    return Span(
        id=message.spanId,
        parent=message.parentSpanId,
        type=SpanType.Name(message.spanType),
        layer=SpanLayer.Name(message.spanLayer),
        operation=message.operationName,
        peer=message.peer,
        component=message.componentId,
        error=message.isError,
        start_ms=message.startTime,
        end_ms=message.endTime,
        tags=tuple((tag.key, tag.value) for tag in message.tags),
        logs=tuple(Log(log.time, {pair.key: pair.value for pair in log.data}) for log in message.logs),
        refs=tuple(
            Ref(
                type=RefType.Name(ref.refType),
                trace=ref.traceId,
                segment=ref.parentTraceSegmentId,
                span=ref.parentSpanId,
                service=ref.parentService,
                instance=ref.parentServiceInstance,
                endpoint=ref.parentEndpoint,
                address=ref.networkAddressUsedAtPeer,
            )
            for ref in message.refs
        ),
        skip_analysis=message.skipAnalysis,
    )


def decode(message: SegmentObject) -> Segment:
    return Segment(
        trace=message.traceId,
        id=message.traceSegmentId,
        service=message.service,
        instance=message.serviceInstance,
        size_limited=message.isSizeLimited,
        spans=tuple(_span(span) for span in message.spans),
    )


@dataclass
class _Kept:
    segments: list[Segment] = field(default_factory=list)
    properties: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    pings: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: set[str] = field(default_factory=set)
    calls: int = 0


class Collector(TraceSegmentReportServiceServicer, ManagementServiceServicer):
    """Starts serving when made; refuse() closes the port, serve() opens the same one again."""

    def __init__(self, stage: Stage | None = None, name: str = "collector", *, takes_records: bool = True) -> None:
        """takes_records: whether it knows more than segments and instances, as an old OAP does not."""
        self.name = name
        self.records = Records(self._admit) if takes_records else None
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.status: grpc.StatusCode | None = None
        self._kept = _Kept()
        self._lock = threading.Lock()
        self._flow = threading.Event()
        self._flow.set()
        self._server: grpc.Server | None = None
        self.serve()
        if stage is not None:
            stage.add(self)

    # What the proxy calls.

    def collect(self, request_iterator: Iterator[SegmentObject], context: grpc.ServicerContext) -> Commands:
        messages = list(request_iterator)
        self._admit(context)
        with self._lock:
            self._kept.segments.extend(decode(message) for message in messages)
        return Commands()

    def collectInSync(self, request, context: grpc.ServicerContext) -> Commands:
        return self.collect(iter(request.segments), context)

    def reportInstanceProperties(self, request, context: grpc.ServicerContext) -> Commands:
        self._admit(context)
        pairs = {pair.key: pair.value for pair in request.properties}
        with self._lock:
            self._kept.properties.append((request.service, request.serviceInstance, pairs))
        return Commands()

    def keepAlive(self, request, context: grpc.ServicerContext) -> Commands:
        self._admit(context)
        with self._lock:
            self._kept.pings[request.service, request.serviceInstance] += 1
        return Commands()

    def _admit(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._kept.calls += 1
            metadata = dict(context.invocation_metadata())
            self._kept.tokens.add(str(metadata.get("authentication", "")))
        self._flow.wait(60)
        if self.status is not None:
            context.abort(self.status, "told to by the test")

    # What a test says and asks.

    def serve(self) -> None:
        """Listens on the collector's port (again)."""
        assert self._server is None
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)]
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
        add_TraceSegmentReportServiceServicer_to_server(self, self._server)
        add_ManagementServiceServicer_to_server(self, self._server)
        if self.records is not None:
            self.records.register(self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def refuse(self) -> None:
        """Closes the port and what is connected: connections are refused from now on."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def stall(self) -> None:
        """Calls are accepted and not answered, until flow()."""
        self._flow.clear()

    def flow(self) -> None:
        self._flow.set()

    @property
    def segments(self) -> list[Segment]:
        with self._lock:
            return list(self._kept.segments)

    @property
    def properties(self) -> list[tuple[str, str, dict[str, str]]]:
        with self._lock:
            return list(self._kept.properties)

    @property
    def pings(self) -> Counter[tuple[str, str]]:
        with self._lock:
            return Counter(self._kept.pings)

    @property
    def tokens(self) -> set[str]:
        with self._lock:
            return set(self._kept.tokens)

    @property
    def calls(self) -> int:
        with self._lock:
            return self._kept.calls

    def clear(self) -> None:
        with self._lock:
            self._kept.segments.clear()

    def wait(
        self, count: int = 1, matching: Callable[[Segment], bool] = lambda _: True, timeout: float = 15.0
    ) -> list[Segment]:
        """The segments that match, once there are at least `count`."""

        def enough() -> list[Segment] | None:
            found = [segment for segment in self.segments if matching(segment)]
            return found if len(found) >= count else None

        found = until(enough, f"{count} segments in the collector; it has {len(self.segments)}", timeout)
        assert found is not None
        return found

    def one(self, matching: Callable[[Segment], bool] = lambda _: True) -> Segment:
        """The one segment that matches."""
        found = self.wait(1, matching)
        assert len(found) == 1, f"{len(found)} segments match: {found}"
        return found[0]

    def log(self) -> str:
        with self._lock:
            kept = self._kept
            lines = [f"calls {kept.calls}, pings {dict(kept.pings)}", *map(str, kept.segments[-20:])]
        return "\n".join(lines)

    def close(self) -> None:
        self.flow()
        self.refuse()
