# SPDX-License-Identifier: Apache-2.0
"""A collector on a real gRPC server, with the upstream agent's messages."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
from skywalking.protocol.common.Command_pb2 import Commands
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject
from skywalking.protocol.language_agent.Tracing_pb2_grpc import (
    TraceSegmentReportServiceServicer,
    add_TraceSegmentReportServiceServicer_to_server,
)
from skywalking.protocol.management.Management_pb2 import InstancePingPkg, InstanceProperties
from skywalking.protocol.management.Management_pb2_grpc import (
    ManagementServiceServicer,
    add_ManagementServiceServicer_to_server,
)

Collect = Callable[["Collector", Iterator[SegmentObject], grpc.ServicerContext], None]


def take_all(collector: Collector, segments: Iterator[SegmentObject], context: grpc.ServicerContext) -> None:
    for segment in segments:
        collector.add(segment)


class Collector(TraceSegmentReportServiceServicer, ManagementServiceServicer):
    """Takes everything, unless `collect_by` or `manage_by` is set to do otherwise."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None, **options: int) -> None:
        self.lock = threading.Lock()
        self.segments: list[SegmentObject] = []
        self.calls: Counter[str] = Counter()
        self.metadata: dict[str, dict[str, str]] = {}
        self.properties: list[InstanceProperties] = []
        self.pings: list[InstancePingPkg] = []
        self.order: list[str] = []
        self.peers: set[str] = set()
        self.peer_names: set[bytes] = set()  # of client certificates
        self.collect_by: Collect = take_all
        self.manage_by: Callable[[grpc.ServicerContext], None] = lambda context: None
        self.released = threading.Event()
        self.server = grpc.server(
            futures.ThreadPoolExecutor(8),
            options=[(f"grpc.{key}", value) for key, value in {"so_reuseport": 0, **options}.items()],
        )
        add_TraceSegmentReportServiceServicer_to_server(self, self.server)
        add_ManagementServiceServicer_to_server(self, self.server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, credentials)
        assert self.port, f"port {port} is taken"
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.server.stop(0).wait()

    def add(self, segment: SegmentObject) -> None:
        with self.lock:
            self.segments.append(segment)

    def ids(self) -> list[str]:
        with self.lock:
            return [segment.traceSegmentId for segment in self.segments]

    def note(self, name: str, context: grpc.ServicerContext) -> None:
        with self.lock:
            self.calls[name] += 1
            self.order.append(name)
            self.metadata[name] = dict(context.invocation_metadata())
            self.peers.add(context.peer())
            self.peer_names.update(context.peer_identities() or ())

    def collect(self, request_iterator: Iterator[SegmentObject], context: grpc.ServicerContext) -> Commands:
        self.note("collect", context)
        self.collect_by(self, request_iterator, context)
        return Commands()

    def reportInstanceProperties(self, request: InstanceProperties, context: grpc.ServicerContext) -> Commands:
        self.note("properties", context)
        self.manage_by(context)
        self.properties.append(request)
        return Commands()

    def keepAlive(self, request: InstancePingPkg, context: grpc.ServicerContext) -> Commands:
        self.note("keepAlive", context)
        self.manage_by(context)
        self.pings.append(request)
        return Commands()
