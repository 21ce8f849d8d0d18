# SPDX-License-Identifier: Apache-2.0
"""Messages through a real RabbitMQ and a real Kafka: the request that sends one and the worker that takes it, as
two segments of one trace."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conftest import opened
from expect import FLASK, check_times
from harness import Collector, Process, Ref, Segment, Site, Span, Stage
from harness.gunicorn import APPS
from harness.rabbitmq import RabbitMq, is_there
from kafka_broker import Kafka

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]

CELERY, KAFKA_PRODUCER, KAFKA_CONSUMER, RABBITMQ_PRODUCER, RABBITMQ_CONSUMER = 7011, 40, 41, 52, 53

#: How pika's users take a message, and whether what they then do is part of its span.
RABBITMQ_WAYS = {"callback": True, "generator": True, "get": False, "select": True, "select_get": True}
KAFKA_WAYS = {"iterator": True, "poll": False}


class Place:
    """A shop that sends, a worker that takes, and what is reported of both."""

    def __init__(self, stage: Stage, **env: str) -> None:
        self.stage, self.collector = stage, Collector(stage)
        self.directory = stage.path("channel")
        self.directory.mkdir()
        self.env = {**env, "SKYSTITCH_CHANNEL_DIR": str(self.directory)}
        config = {"stitch": {"channel": str(self.directory)}}
        self.shop = Site(stage, "queues_flask:app", collector=self.collector, config=config, env=self.env)

    def send(self, path: str) -> Segment:
        """The segment of the request that has sent a message."""
        assert self.shop.proxy.request("POST", path).status_code == 200
        return self.collector.one(lambda segment: segment.service == "shop" and segment.path() == path)

    def worker(self, name: str, *arguments: str) -> Process:
        own = {"SKYSTITCH_CHANNEL": "auto", "SKYSTITCH_SERVICE": "warehouse", "SKYSTITCH_INSTANCE": "warehouse-1"}
        made = Process(self.stage, name, [sys.executable, *arguments], {**self.env, **own}, cwd=APPS)
        made.spawn()
        return made

    def take(self, way: str, queue: str) -> list[Segment]:
        """The segments of a worker that takes one message, in the order of their begin."""
        worker = self.worker(f"worker-{way}", "queues_worker.py", way, queue)
        assert worker.wait(120) == 0, worker.log()
        assert worker.log() == "worked on tea\n"
        return self.of_worker(queue)

    def of_worker(self, word: str) -> list[Segment]:
        found = self.collector.wait(
            1, lambda segment: segment.service == "warehouse" and word in segment.spans[0].operation
        )
        return sorted(found, key=lambda segment: segment.spans[0].start_ms)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[Place]:
    if not is_there() or importlib.util.find_spec("pika") is None:
        pytest.skip("no RabbitMQ, or no pika")
    with contextmanager(opened)() as stage:
        yield Place(stage, QUEUES_RABBITMQ=f"amqp://guest:guest@{RabbitMq(stage).address}/")


@pytest.fixture(scope="module")
def kafka() -> Iterator[Place]:
    with contextmanager(opened)() as stage:
        yield Place(stage, QUEUES_KAFKA=Kafka(stage).address)


def address(place: Place, name: str) -> str:
    return place.env[name].removeprefix("amqp://guest:guest@").rstrip("/")


def check_sent(segment: Segment, rule: str, component: int, operation: str, tags: dict[str, str]) -> Span:
    """The request's segment: its entry, the view, and the call that has sent the message."""
    assert [(span.id, span.parent, span.type) for span in segment.spans] == [
        (0, -1, "Entry"),
        (1, 0, "Local"),
        (2, 1, "Exit"),
    ]
    assert (segment.entry.operation, segment.entry.component) == (f"POST:{rule}", FLASK)
    sent = segment.span(2)
    assert (sent.layer, sent.component, sent.operation) == ("MQ", component, operation)
    assert (dict(sent.tags), sent.peer) == (tags, tags["mq.broker"])
    assert not any(span.error or span.logs for span in segment.spans)
    check_times(segment)
    return sent


def check_taken(segment: Segment, by: Segment, component: int, operation: str, tags: dict[str, str]) -> None:
    """The worker's segment goes on from the call that has sent the message."""
    sent = by.span(2)
    entry = segment.spans[0]
    assert (segment.service, segment.instance) == ("warehouse", "warehouse-1")
    assert segment.trace == by.trace
    assert (entry.id, entry.parent, entry.type) == (0, -1, "Entry")
    assert (entry.layer, entry.component, entry.operation) == ("MQ", component, operation)
    assert (entry.peer, entry.error, entry.logs) == (sent.peer, False, ())
    found = dict(entry.tags)
    found.pop("transmission.latency", None)
    assert found == tags
    assert entry.refs == (
        Ref("CrossProcess", by.trace, by.id, sent.id, by.service, by.instance, by.entry.operation, sent.peer),
    )
    check_times(segment)


@pytest.mark.parametrize("way", RABBITMQ_WAYS)
def test_rabbitmq(rabbitmq: Place, way: str) -> None:
    queue = f"orders-{way.replace('_', '-')}"
    broker = address(rabbitmq, "QUEUES_RABBITMQ")
    tags = {"mq.broker": broker, "mq.topic": "", "mq.queue": queue}
    operation = f"RabbitMQ/Topic//Queue/{queue}"
    sent = rabbitmq.send(f"/rabbitmq/{queue}")
    check_sent(sent, "/rabbitmq/<queue>", RABBITMQ_PRODUCER, f"{operation}/Producer", tags)
    (taken,) = rabbitmq.take(f"rabbitmq_{way}", queue)
    check_taken(taken, sent, RABBITMQ_CONSUMER, f"{operation}/Consumer", tags)
    below = [(span.id, span.parent, span.type, span.operation) for span in taken.spans[1:]]
    assert below == ([(1, 0, "Local", "work")] if RABBITMQ_WAYS[way] else [])


def test_celery_over_rabbitmq(rabbitmq: Place) -> None:
    pytest.importorskip("celery")
    broker = address(rabbitmq, "QUEUES_RABBITMQ")
    tags = {"mq.broker": broker}
    worker = rabbitmq.worker("celery", "-m", "celery", "-A", "queues_tasks", "worker", "-c", "1", "--without-mingle")
    try:
        sent = rabbitmq.send("/celery/tea")
        check_sent(sent, "/celery/<item>", CELERY, "celery/order", tags)
        (taken,) = rabbitmq.of_worker("celery/order")
    finally:
        worker.close()
    check_taken(taken, sent, CELERY, "celery/order", tags)
    assert [(span.id, span.parent, span.operation) for span in taken.spans[1:]] == [(1, 0, "work")]


@pytest.mark.parametrize("way", KAFKA_WAYS)
def test_kafka(kafka: Place, way: str) -> None:
    topic = f"orders-{way}"
    tags = {"mq.broker": address(kafka, "QUEUES_KAFKA"), "mq.topic": topic}
    sent = kafka.send(f"/kafka/{topic}")
    check_sent(sent, "/kafka/<topic>", KAFKA_PRODUCER, f"Kafka/{topic}/Producer", tags)
    taken = kafka.take(f"kafka_{way}", topic)
    assert len(taken) == 1
    check_taken(taken[0], sent, KAFKA_CONSUMER, f"Kafka/{topic}/Consumer/warehouse", tags)
    latency = taken[0].spans[0].tag("transmission.latency")
    assert latency is not None
    assert int(latency) >= 0
    below = [(span.id, span.parent, span.type, span.operation) for span in taken[0].spans[1:]]
    assert below == ([(1, 0, "Local", "work")] if KAFKA_WAYS[way] else [])
