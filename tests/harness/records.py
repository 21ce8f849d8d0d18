# SPDX-License-Identifier: Apache-2.0
"""What a collector receives beside segments: log records, events and meters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
from skywalking.protocol.common.Command_pb2 import Commands
from skywalking.protocol.event.Event_pb2 import Event, Type
from skywalking.protocol.event.Event_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from skywalking.protocol.language_agent.Meter_pb2 import MeterDataCollection
from skywalking.protocol.language_agent.Meter_pb2_grpc import (
    MeterReportServiceServicer,
    add_MeterReportServiceServicer_to_server,
)
from skywalking.protocol.logging.Logging_pb2 import LogData
from skywalking.protocol.logging.Logging_pb2_grpc import (
    LogReportServiceServicer,
    add_LogReportServiceServicer_to_server,
)

from harness.process import until

Admit = Callable[[grpc.ServicerContext], None]


@dataclass(frozen=True)
class Record:
    service: str
    instance: str
    endpoint: str
    text: str
    at_ms: int
    trace: str
    segment: str
    span: int
    tags: dict[str, str]


@dataclass(frozen=True)
class Happening:
    """An event."""

    service: str
    instance: str
    name: str
    type: str
    message: str
    layer: str
    uuid: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Meters:
    """One set."""

    service: str
    instance: str
    at_ms: int
    values: dict[str, float]


def record_of(message: LogData) -> Record:
    return Record(
        service=message.service,
        instance=message.serviceInstance,
        endpoint=message.endpoint,
        text=message.body.text.text,
        at_ms=message.timestamp,
        trace=message.traceContext.traceId,
        segment=message.traceContext.traceSegmentId,
        span=message.traceContext.spanId,
        tags={tag.key: tag.value for tag in message.tags.data},
    )


def happening_of(message: Event) -> Happening:
    return Happening(
        service=message.source.service,
        instance=message.source.serviceInstance,
        name=message.name,
        type=Type.Name(message.type),
        message=message.message,
        layer=message.layer,
        uuid=message.uuid,
        start_ms=message.startTime,
        end_ms=message.endTime,
    )


def meters_of(message: MeterDataCollection) -> Meters:
    first = message.meterData[0]
    return Meters(
        service=first.service,
        instance=first.serviceInstance,
        at_ms=first.timestamp,
        values={data.singleValue.name: data.singleValue.value for data in message.meterData},
    )


class Records:
    """Keeps what comes; admit stands before each call, as the collector's."""

    def __init__(self, admit: Admit) -> None:
        self._lock = threading.Lock()
        self._admit = admit
        self._logs: list[Record] = []
        self._events: list[Happening] = []
        self._meters: list[Meters] = []

    def register(self, server: grpc.Server) -> None:
        records = self

        class Logs(LogReportServiceServicer):
            def collect(self, request_iterator: Iterator[LogData], context: grpc.ServicerContext) -> Commands:
                return records.keep(records._logs, map(record_of, request_iterator), context)

        class Events(EventServiceServicer):
            def collect(self, request_iterator: Iterator[Event], context: grpc.ServicerContext) -> Commands:
                return records.keep(records._events, map(happening_of, request_iterator), context)

        class MeterReports(MeterReportServiceServicer):
            def collectBatch(
                self, request_iterator: Iterator[MeterDataCollection], context: grpc.ServicerContext
            ) -> Commands:
                return records.keep(records._meters, map(meters_of, request_iterator), context)

        add_LogReportServiceServicer_to_server(Logs(), server)
        add_EventServiceServicer_to_server(Events(), server)
        add_MeterReportServiceServicer_to_server(MeterReports(), server)

    def keep(self, kept: list, came: Iterator, context: grpc.ServicerContext) -> Commands:
        whole = list(came)
        self._admit(context)
        with self._lock:
            kept.extend(whole)
        return Commands()

    @property
    def logs(self) -> list[Record]:
        with self._lock:
            return list(self._logs)

    @property
    def events(self) -> list[Happening]:
        with self._lock:
            return list(self._events)

    @property
    def meters(self) -> list[Meters]:
        with self._lock:
            return list(self._meters)

    def clear(self) -> None:
        with self._lock:
            for kept in (self._logs, self._events, self._meters):
                kept.clear()

    def log(self, matching: Callable[[Record], bool] = lambda _: True) -> Record:
        """The one log record that matches, once it has come."""
        found = until(lambda: [record for record in self.logs if matching(record)], "a log record")
        assert len(found) == 1, f"{len(found)} log records match: {found}"
        return found[0]
