# SPDX-License-Identifier: Apache-2.0
"""A real Kafka broker takes what OAP's kafka-fetcher reads; read back by a client of another make."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import KafkaConsumer
from skywalking.protocol.language_agent.Meter_pb2 import MeterDataCollection
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject
from skywalking.protocol.logging.Logging_pb2 import LogData
from skywalking.protocol.management.Management_pb2 import InstancePingPkg, InstanceProperties

from harness import Gunicorn, Origin, Skystitch, Stage, until
from harness.records import meters_of, record_of
from kafka_broker import Kafka
from load import Load

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]


def read(kafka: Kafka, topic: str, count: int) -> list[tuple[bytes, bytes]]:
    """Key and value of the first records of a topic."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.address, auto_offset_reset="earliest", consumer_timeout_ms=60000
    )
    records: list[tuple[bytes, bytes]] = []
    for record in consumer:
        records.append((record.key, record.value))
        if len(records) == count:
            break
    consumer.close()
    return records


def proxy_before(stage: Stage, kafka: Kafka, **reporter: Any) -> Skystitch:
    """Set as the Python agent is."""
    env = {
        "SW_AGENT_PROTOCOL": "kafka",
        "SW_KAFKA_BOOTSTRAP_SERVERS": kafka.address,
        "SW_KAFKA_NAMESPACE": "prod",
        "SW_KAFKA_REPORTER_CONFIG_compression_type": "gzip",
    }
    return Skystitch(stage, Origin(stage).address, env=env, config={"reporter": reporter})


def test_records_are_what_the_fetcher_reads(stage: Stage) -> None:
    kafka = Kafka(stage)
    proxy = proxy_before(stage, kafka)
    for number in range(20):
        proxy.get(f"/page/{number}")
    until(lambda: proxy.metric("skystitch_segments_confirmed_total") == 20, "all are confirmed", 60)
    segments = read(kafka, "prod-skywalking-segments", 20)
    for key, value in segments:
        segment = SegmentObject.FromString(value)
        assert key.decode() == segment.traceSegmentId
        assert (segment.service, segment.serviceInstance) == (proxy.service, proxy.instance)
    assert len({key for key, _ in segments}) == 20
    management = dict(read(kafka, "prod-skywalking-managements", 2))
    properties = InstanceProperties.FromString(management[f"register-{proxy.instance}".encode()])
    assert "language" in {pair.key for pair in properties.properties}
    ping = InstancePingPkg.FromString(management[proxy.instance.encode()])
    assert (ping.service, ping.serviceInstance) == (proxy.service, proxy.instance)


def test_logs_and_meters_are_what_the_fetcher_reads(stage: Stage) -> None:
    kafka = Kafka(stage)
    app = Gunicorn(stage, "talking_app:app", env={"SW_AGENT_METER_REPORTER_PERIOD": "1"})
    env = {"SW_AGENT_PROTOCOL": "kafka", "SW_KAFKA_BOOTSTRAP_SERVERS": kafka.address}
    proxy = Skystitch(stage, app.address, env=env, config={"reporter": {"meter_interval": "1s"}})

    def confirmed() -> bool:
        proxy.get("/say/error?text=needle")
        return all(proxy.metric("skystitch_records_confirmed_total", kind=kind) for kind in ("log", "meters"))

    until(confirmed, "a log record and meters are confirmed", 60)
    (_, first), (key, value) = read(kafka, "skywalking-logs", 2)
    assert "the app starts" in record_of(LogData.FromString(first)).text
    record = record_of(LogData.FromString(value))
    assert (record.service, record.instance) == (proxy.service, proxy.instance)
    assert key.decode() == record.segment
    assert "needle" in record.text
    ((key, value),) = read(kafka, "skywalking-meters", 1)
    meters = meters_of(MeterDataCollection.FromString(value))
    assert key.decode() == meters.instance == proxy.instance
    assert meters.values["instance_pvm_thread_active_count"] >= 1
    assert proxy.metric("skystitch_records_dropped_total", kind="event") == 0  # there is no topic for them


def test_broker_that_goes_and_comes_back(stage: Stage) -> None:
    kafka = Kafka(stage)
    proxy = proxy_before(stage, kafka)
    proxy.get("/before")
    until(lambda: proxy.metric("skystitch_segments_confirmed_total") == 1, "the first is confirmed", 60)
    kafka.kill()
    for number in range(20):
        assert proxy.get(f"/away/{number}").status_code == 200
    until(lambda: proxy.metric("skystitch_backend_up") == 0, "the broker is known to be away", 60)
    assert proxy.metric("skystitch_segments_dropped_total") == 0
    kafka.start()
    until(lambda: proxy.metric("skystitch_segments_confirmed_total") == 21, "all are confirmed", 120)
    keys = {key for key, _ in read(kafka, "prod-skywalking-segments", 21)}
    assert len(keys) == 21


def test_broker_away_for_longer_than_memory(stage: Stage) -> None:
    kafka = Kafka(stage)
    proxy = proxy_before(stage, kafka, memory="4MiB", spool={"path": str(stage.path("spool"))})
    proxy.get("/before")
    until(lambda: proxy.metric("skystitch_segments_confirmed_total") == 1, "the first is confirmed", 60)
    kafka.kill()
    load = Load(proxy.port, clients=2)
    until(lambda: proxy.metric("skystitch_spool_segments") > 500, "memory is full", 60)
    load.stop()
    assert load.failures == []
    kafka.start()
    made = load.done + 1
    until(lambda: proxy.metric("skystitch_segments_confirmed_total") == made, "all are confirmed", 120)
    assert proxy.metric("skystitch_segments_dropped_total") == 0
