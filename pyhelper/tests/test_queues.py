# SPDX-License-Identifier: Apache-2.0
"""Queues: what producers send along, and the segments that consumers make of it. The drivers are
real, what lies below their lowest seam is not."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import skystitch
from calls import exit_header, expected
from conftest import TRACE, Proxy, b64, log, sw8, timeless


class Place:
    """What exit_header() takes the peer from."""

    def __init__(self, peer: str) -> None:
        self.peer = peer


def produced(component: int, operation: str, peer: str, **extra: Any) -> dict[str, Any]:
    return {
        "id": 2,
        "parent": 1,
        "type": "exit",
        "layer": "mq",
        "component": component,
        "operation": operation,
        "peer": peer,
        **extra,
    }


def own_segments(proxy: Proxy) -> list[dict[str, Any]]:
    made = proxy.read()
    for message in made:
        del message["at"], message["segment"]
        for span in message["spans"]:
            del span["begin"], span["duration"]
            span["tags"] = [tag for tag in span["tags"] if tag[0] != "transmission.latency"]
            for entry in span.get("logs", ()):
                del entry["at"]
                entry["data"] = [pair for pair in entry["data"] if pair[0] != "stack"]
    return made


def consumed(component: int, operation: str, peer: str, tags: Any, **extra: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "parent": 0,
        "type": "entry",
        "layer": "mq",
        "component": component,
        "operation": operation,
        "peer": peer,
        "tags": tags,
        **extra,
    }


def segment(*spans: dict[str, Any], **extra: Any) -> dict[str, Any]:
    made = {"v": 1, "trace": TRACE, "refs": [sw8()], "seq": 0, "last": True, **extra}
    return {**made, "spans": list(spans)}


class TestKafka:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch, restart: Any) -> list[Any]:
        kafka = pytest.importorskip("kafka")
        seen: list[Any] = []

        def send(
            self: Any, topic: Any, value: Any = None, key: Any = None, headers: Any = None, **_: Any
        ) -> str:
            if topic == "full":
                raise BufferError(topic)
            seen.append((topic, value, key, headers))
            return "future"

        from skystitch import agent

        agent.stop()
        monkeypatch.setattr(kafka.KafkaProducer, "send", send)
        restart()
        return seen

    def producer(self, **config: Any) -> Any:
        from kafka import KafkaProducer

        made = object.__new__(KafkaProducer)
        made.config = {
            "api_version": (2, 0),
            "bootstrap_servers": ["k1:9092", "k2:9092"],
            "client_id": "tests",
            "transactional_id": None,
            **config,
        }
        made._closed = True
        return made

    def test_send(self, run: Any, sent: list[Any]) -> None:
        mine = [("mine", b"1"), ("sw8", b"stale")]

        def call() -> None:
            producer = self.producer()
            assert producer.send("orders", b"v", headers=mine) == "future"
            with pytest.raises(BufferError):
                producer.send("full", b"v")

        peer = "k1:9092;k2:9092"
        answer = run(call)
        tags = [["mq.broker", peer], ["mq.topic", "orders"]]
        full = [["mq.broker", peer], ["mq.topic", "full"]]
        failed = {"id": 3, "tags": full, "error": True, "logs": [log("BufferError", "full")]}
        assert timeless(answer.message) == expected(
            produced(40, "Kafka/orders/Producer", peer, tags=tags),
            produced(40, "Kafka/full/Producer", peer, **failed),
        )
        header = exit_header(Place(peer), 2).encode()
        assert sent == [("orders", b"v", None, [("mine", b"1"), ("sw8", header)])]
        assert mine == [("mine", b"1"), ("sw8", b"stale")]

    def test_old_brokers_take_no_headers(self, run: Any, sent: list[Any]) -> None:
        run(lambda: self.producer(api_version=(0, 10)).send("t", b"v", b"k"))
        assert sent == [("t", b"v", b"k", None)]

    def test_not_reported_but_carried(self, run: Any, client: Any, sent: list[Any]) -> None:
        traced = client.traced(flags="", sample="0")
        answer = run(lambda: self.producer().send("t"), traced=traced)
        assert answer.messages == []
        header = exit_header(Place("k1:9092;k2:9092"), 0, sample="0")
        assert sent == [("t", None, None, [("sw8", header.encode())])]

    def test_outside_of_a_request(self, sent: list[Any]) -> None:
        self.producer().send("t")
        assert sent == [("t", None, None, None)]

    RECORD = SimpleNamespace(
        topic="orders",
        timestamp=1_700_000_000_000,
        headers=[("sw8", sw8().encode()), ("x", b"1")],
    )
    PLAIN = SimpleNamespace(topic="orders", timestamp=-1, headers=[])
    TAKEN = consumed(
        41,
        "Kafka/orders/Consumer/g",
        "k:9092",
        [["mq.broker", "k:9092"], ["mq.topic", "orders"]],
    )

    @pytest.fixture
    def make_consumer(self, proxy: Proxy, restart: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """What it makes is given nothing, then a batch of two records; a loop ends after that."""
        kafka = pytest.importorskip("kafka")
        batches: list[Any] = [{}, {"partition": [self.RECORD, self.PLAIN]}]

        def take(consumer: Any) -> Any:
            while batches and not consumer.left:
                for records in consumer._poll_once(1, 2).values():
                    consumer.left.extend(records)
            if not consumer.left:
                raise StopIteration
            return consumer.left.pop(0)

        from skystitch import agent

        agent.stop()
        monkeypatch.setattr(
            kafka.KafkaConsumer, "_poll_once", lambda *_: batches.pop(0) if batches else {}
        )
        monkeypatch.setattr(kafka.KafkaConsumer, "__next__", take)
        restart(SKYSTITCH_CHANNEL=proxy.channel)

        def make() -> Any:
            consumer = object.__new__(kafka.KafkaConsumer)
            consumer.config = {"bootstrap_servers": "k:9092", "group_id": "g"}
            consumer._closed = True
            consumer.left = []
            return consumer

        return make

    def test_poll(self, proxy: Proxy, make_consumer: Any) -> None:
        consumer = make_consumer()
        assert consumer._poll_once(1, 2) == {}
        assert consumer._poll_once(1, 2) == {"partition": [self.RECORD, self.PLAIN]}
        assert own_segments(proxy) == [segment(self.TAKEN)]

    def test_loop(self, proxy: Proxy, make_consumer: Any) -> None:
        """Each record is a segment, as long as the work on it, whose spans hang below."""
        made = []
        for record in make_consumer():
            assert record in (self.RECORD, self.PLAIN)
            assert proxy.read() == [] or record is self.PLAIN
            with skystitch.span("work"):
                made.append(skystitch.current_trace_id())
        second = own_segments(proxy)[-1]
        assert skystitch.current_trace_id() == ""
        assert made == [TRACE, second["trace"]]
        assert second["trace"] != TRACE
        assert "refs" not in second
        assert [span["operation"] for span in second["spans"]] == [self.TAKEN["operation"], "work"]
        assert second["spans"][1]["parent"] == 1

    @pytest.mark.parametrize("leave", ["close", "next poll", "forget", "uninstall"])
    def test_loop_that_is_left(self, proxy: Proxy, make_consumer: Any, leave: str) -> None:
        consumer = make_consumer()
        for _ in consumer:
            assert skystitch.current_trace_id() == TRACE
            break
        assert proxy.read() == []
        if leave == "close":
            consumer.close()
        elif leave == "next poll":
            assert consumer._poll_once(1, 2) == {}
        elif leave == "forget":
            del consumer
        else:
            from skystitch.plugins import sw_kafka

            sw_kafka.uninstall()
        assert skystitch.current_trace_id() == ""
        assert own_segments(proxy) == [segment(self.TAKEN)]

    def test_loop_in_a_request(self, run: Any, make_consumer: Any) -> None:
        """The request may end before the loop goes on: the record's span says only that it came."""

        def call() -> None:
            next(make_consumer())
            with skystitch.span("work"):
                pass

        spans = run(call).message["spans"]
        assert [(span["operation"], span["parent"]) for span in spans[1:]] == [
            (self.TAKEN["operation"], 1),
            ("work", 1),
        ]


class TestRabbit:
    @pytest.fixture
    def channel(self) -> Any:
        pika = pytest.importorskip("pika")
        from pika.channel import Channel

        class Connection:
            params = pika.ConnectionParameters("rabbit", 5672)

            def __init__(self) -> None:
                from pika.callback import CallbackManager

                self.callbacks = CallbackManager()
                self.sent: list[Any] = []

            def _send_message(self, number: Any, method: Any, content: Any = None) -> None:
                self.sent.append((method, content))

            _send_method = _send_message

        channel = Channel(Connection(), 1, lambda _: None)
        channel._state = Channel.OPEN
        return channel

    TAGS = (["mq.broker", "rabbit:5672"], ["mq.topic", "x"], ["mq.queue", "q"])

    def test_publish(self, run: Any, channel: Any) -> None:
        from pika import BasicProperties

        mine = BasicProperties(headers={"mine": 1}, content_type="text/plain")

        def call() -> None:
            channel.basic_publish("x", "q", b"body", mine)
            channel.basic_publish("x", "q", b"body")

        operation = "RabbitMQ/Topic/x/Queue/q/Producer"
        assert timeless(run(call).message) == expected(
            produced(52, operation, "rabbit:5672", tags=[*self.TAGS]),
            produced(52, operation, "rabbit:5672", tags=[*self.TAGS], id=3),
        )
        place = Place("rabbit:5672")
        (_, first), (_, second) = channel.connection.sent
        assert first[0].headers == {"mine": 1, "sw8": exit_header(place, 2)}
        assert first[0].content_type == "text/plain"
        assert second[0].headers == {"sw8": exit_header(place, 3)}
        assert mine.headers == {"mine": 1}

    def test_consume(self, proxy: Proxy, restart: Any, channel: Any) -> None:
        from pika import BasicProperties
        from pika.spec import Basic

        restart(SKYSTITCH_CHANNEL=proxy.channel)
        seen: list[Any] = []

        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> str:
            with skystitch.span("inner"):
                seen.append((body, skystitch.current_trace_id()))
            if body == b"bad":
                raise ValueError("bad")
            return "done"

        tag = channel.basic_consume("q", on_message)
        callback = channel._consumers[tag]
        properties = BasicProperties(headers={"sw8": sw8()})
        method = Basic.Deliver(exchange="x", routing_key="q")
        assert callback(channel, method, properties, b"good") == "done"
        with pytest.raises(ValueError, match="bad") as raised:
            callback(channel, method, BasicProperties(), b"bad")
        assert [entry.name for entry in raised.traceback][-1] == "on_message"
        assert seen[0] == (b"good", TRACE)
        inner = {"type": "local", "layer": "unknown", "component": 0, "operation": "inner"}
        local = {"id": 2, "parent": 1, "tags": [], **inner}
        operation = "RabbitMQ/Topic/x/Queue/q/Consumer"
        good, bad = own_segments(proxy)
        assert good == segment(consumed(53, operation, "rabbit:5672", [*self.TAGS]), local)
        assert "refs" not in bad
        assert bad["spans"][0]["error"] is True
        assert bad["spans"][0]["logs"] == [log("ValueError", "bad")]

    @pytest.fixture
    def blocking(
        self, proxy: Proxy, restart: Any, channel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> Any:
        """A blocking channel with a good and a bad message, then none."""
        from pika import BasicProperties
        from pika.adapters.blocking_connection import BlockingChannel
        from pika.spec import Basic

        from skystitch import agent

        method = Basic.Deliver(exchange="x", routing_key="q")
        first = (method, BasicProperties(headers={"sw8": sw8()}), b"good")
        self.found = [first, (method, BasicProperties(), b"bad"), (None, None, None)]
        self.closed = 0

        def consume(_: Any, queue: str, **options: Any) -> Any:
            try:
                yield from self.found
            finally:
                self.closed += 1

        agent.stop()
        monkeypatch.setattr(BlockingChannel, "consume", consume)
        monkeypatch.setattr(BlockingChannel, "basic_get", lambda *_: self.found.pop(0))
        restart(SKYSTITCH_CHANNEL=proxy.channel)
        made = object.__new__(BlockingChannel)
        made._impl, made._connection = channel, type("", (), {"_impl": channel.connection})
        return made

    def operations(self, proxy: Proxy) -> list[list[str]]:
        return [[span["operation"] for span in made["spans"]] for made in own_segments(proxy)]

    CONSUMED = "RabbitMQ/Topic/x/Queue/q/Consumer"

    def test_consume_in_a_loop(self, proxy: Proxy, blocking: Any) -> None:
        """What is done for a message is part of its span, until the next one is asked for."""
        for _, _, body in blocking.consume("q", inactivity_timeout=1):
            with skystitch.span(f"{body}"):
                pass
        assert self.operations(proxy) == [
            [self.CONSUMED, "b'good'"],
            [self.CONSUMED, "b'bad'"],
            ["None"],
        ]
        assert self.closed == 1

    def test_a_loop_that_is_left(self, proxy: Proxy, blocking: Any) -> None:
        for _, properties, _ in blocking.consume("q"):
            if not properties.headers:
                break
        assert self.closed == 1
        assert skystitch.current_trace_id() == ""
        with pytest.raises(ZeroDivisionError) as raised:  # noqa: PT012
            for _ in blocking.consume("q"):
                raise ZeroDivisionError
        assert len(raised.traceback) == 1
        assert skystitch.current_trace_id() == ""
        assert self.operations(proxy) == [[self.CONSUMED]] * 3

    def test_consume_of_a_channel_that_breaks(self, proxy: Proxy, blocking: Any) -> None:
        """The traceback leads from the app's loop straight into pika."""

        def one_then_none(first: Any) -> Iterator[Any]:
            yield first
            raise ConnectionError

        self.found = one_then_none(self.found[0])
        with pytest.raises(ConnectionError) as raised:
            for _ in blocking.consume("q"):
                pass
        assert [frame.name for frame in raised.traceback] == [
            "test_consume_of_a_channel_that_breaks",
            "consume",  # the fixture's, in pika's place
            "one_then_none",
        ]
        assert self.operations(proxy) == [[self.CONSUMED]]

    def test_consume_within_a_request(self, proxy: Proxy, run: Any, blocking: Any) -> None:
        """A generator that outlives the request must not leave it the current one."""
        kept = []

        def call() -> None:
            kept.append(blocking.consume("q"))
            next(kept[0])
            with skystitch.span("inner"):
                pass

        spans = run(call).message["spans"]
        found = [(span["type"], span["operation"], span["parent"]) for span in spans[1:]]
        assert found == [("local", self.CONSUMED, 1), ("local", "inner", 1)]
        assert skystitch.current_trace_id() == ""
        kept[0].close()
        assert self.closed == 1

    def test_get(self, proxy: Proxy, blocking: Any) -> None:
        from inspect import isgeneratorfunction

        assert isgeneratorfunction(type(blocking).consume)
        while blocking.basic_get("q")[0] is not None:
            pass
        good, bad = own_segments(proxy)
        assert good == segment(consumed(53, self.CONSUMED, "rabbit:5672", [*self.TAGS]))
        assert bad["trace"] != TRACE

    def test_pikas_own_callbacks_are_left_alone(self) -> None:
        pytest.importorskip("pika")
        from skystitch.plugins import sw_rabbitmq

        class Pikas:
            def method(self) -> None: ...

        Pikas.__module__ = "pika.adapters.blocking_connection"
        assert sw_rabbitmq._is_pikas(Pikas().method)
        assert not sw_rabbitmq._is_pikas(lambda: None)


class TestCelery:
    @pytest.fixture
    def app(self) -> Iterator[Any]:
        celery = pytest.importorskip("celery")

        def leave_logging_alone(**_: Any) -> None:
            """Else the worker sets it up for all tests that follow."""

        celery.signals.setup_logging.connect(leave_logging_alone)
        yield self.make_app(celery)
        celery.signals.setup_logging.disconnect(leave_logging_alone)

    def make_app(self, celery: Any) -> Any:
        app = celery.Celery(
            "jobs", broker="memory://user:secret@queue:1", backend="cache+memory://"
        )

        # Not shared: else those of one test's app are registered in the next one's too.
        @app.task(name="add", shared=False)
        def add(a: int, b: int) -> int:
            with skystitch.span("inner"):
                return a + b

        @app.task(name="fail", shared=False)
        def fail() -> None:
            raise ValueError("failed")

        return app

    def test_send_and_work(self, run: Any, app: Any, proxy: Proxy, restart: Any) -> None:
        from celery.contrib.testing.worker import start_worker

        restart(SKYSTITCH_CHANNEL=proxy.channel, SW_PLUGIN_CELERY_PARAMETERS_LENGTH="100")
        results: list[Any] = []

        def call() -> None:
            results.append(app.tasks["add"].delay(1, b=2))
            results.append(app.send_task("fail"))

        with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
            answer = run(call)
            assert results[0].get(timeout=20) == 3
            with pytest.raises(ValueError, match="failed"):
                results[1].get(timeout=20)
        everything = [*answer.messages, *proxy.read()]  # the worker may be faster than the request
        (request,) = [message for message in everything if "handler" in message]
        own = [message for message in everything if "trace" in message]
        peer = "queue:1"
        added = [["mq.broker", peer], ["celery.parameters", "*[1], **{'b': 2}"]]
        failed = [["mq.broker", peer], ["celery.parameters", "*[], **{}"]]
        assert timeless(request) == expected(
            produced(7011, "celery/add", peer, tags=added),
            produced(7011, "celery/fail", peer, tags=failed, id=3),
        )
        shapes = {
            message["spans"][0]["operation"]: [
                (span["type"], span["operation"], span.get("error", False))
                for span in message["spans"]
            ]
            for message in own
        }
        assert shapes == {
            "celery/add": [("entry", "celery/add", False), ("local", "inner", False)],
            "celery/fail": [("entry", "celery/fail", True)],
        }
        place = Place(peer)
        assert sorted(message["refs"][0] for message in own) == sorted(
            [exit_header(place, 2), exit_header(place, 3)]
        )
        assert {message["trace"] for message in own} == {TRACE}

    def test_eager_tasks_are_part_of_the_request(self, run: Any, app: Any) -> None:
        app.conf.task_always_eager = True
        answer = run(lambda: app.tasks["add"].delay(1, 2).get())
        made = [(span["type"], span["operation"]) for span in answer.message["spans"][1:]]
        assert made == [("local", "inner"), ("local", "celery/add")]

    def test_the_brokers_password_is_not_shown(self) -> None:
        pytest.importorskip("celery")
        from types import SimpleNamespace

        from skystitch.plugins import sw_celery

        for url, shown in [
            ("redis://:secret@r:6380/0", "r:6380"),
            ("amqp://u:secret@a//;amqp://b//", "a:5672"),
            (["sqs://key:secret@"], "sqs:localhost"),
            (None, "localhost:5672"),
        ]:
            conf = SimpleNamespace(broker_write_url=None, broker_url=url)
            assert sw_celery._broker(SimpleNamespace(conf=conf)) == shown


def test_correlation_goes_with_a_message(run: Any) -> None:
    """Through the seam that all producers share."""
    from skystitch import exits

    def call() -> dict[str, str]:
        skystitch.set_correlation("k", "v")
        target = exits.Target(40, "mq", "op", "peer", [])
        made = exits.start(lambda: target, carries=True)
        assert made is not None
        made.end()
        return made.propagated("peer")

    assert run(call).result["sw8-correlation"] == f"{b64('k')}:{b64('v')}"
