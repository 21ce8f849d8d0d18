# SPDX-License-Identifier: Apache-2.0
"""Takes one message from a queue and works on it: queues_worker.py WAY QUEUE."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import tracing

tracing.start()

import skystitch  # noqa: E402


def work(body: bytes) -> None:
    with skystitch.span("work"):
        print("worked on", body.decode(), flush=True)


def rabbitmq_parameters() -> Any:
    import pika

    return pika.URLParameters(os.environ["QUEUES_RABBITMQ"])


def rabbitmq_callback(queue: str) -> None:
    import pika

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        work(body)
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    with pika.BlockingConnection(rabbitmq_parameters()) as connection:
        channel = connection.channel()
        channel.basic_consume(queue, on_message)
        channel.start_consuming()


def rabbitmq_generator(queue: str) -> None:
    import pika

    with pika.BlockingConnection(rabbitmq_parameters()) as connection:
        channel = connection.channel()
        for method, _, body in channel.consume(queue, inactivity_timeout=0.1):
            if method is not None:
                work(body)
                channel.basic_ack(method.delivery_tag)
                break
        channel.cancel()


def rabbitmq_get(queue: str) -> None:
    import pika

    with pika.BlockingConnection(rabbitmq_parameters()) as connection:
        channel = connection.channel()
        while (found := channel.basic_get(queue, auto_ack=True))[0] is None:
            time.sleep(0.05)
        work(found[2])


def rabbitmq_select(queue: str) -> None:
    import pika

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        work(body)
        channel.basic_ack(method.delivery_tag)
        connection.close()

    connection = pika.SelectConnection(
        rabbitmq_parameters(),
        on_open_callback=lambda opened: opened.channel(
            on_open_callback=lambda channel: channel.basic_consume(queue, on_message)
        ),
        on_close_callback=lambda closed, _: closed.ioloop.stop(),
    )
    connection.ioloop.start()


def rabbitmq_select_get(queue: str) -> None:
    import pika

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        work(body)
        connection.close()

    connection = pika.SelectConnection(
        rabbitmq_parameters(),
        on_open_callback=lambda opened: opened.channel(
            on_open_callback=lambda channel: channel.basic_get(queue, callback=on_message, auto_ack=True)
        ),
        on_close_callback=lambda closed, _: closed.ioloop.stop(),
    )
    connection.ioloop.start()


def kafka_iterator(topic: str) -> None:
    consumer = kafka_consumer(topic)
    for record in consumer:
        work(record.value)
        break
    consumer.close()


def kafka_poll(topic: str) -> None:
    consumer = kafka_consumer(topic)
    while not (found := consumer.poll(timeout_ms=500)):
        pass
    for records in found.values():
        for record in records:
            work(record.value)
    consumer.close()


def kafka_consumer(topic: str) -> Any:
    from kafka import KafkaConsumer

    return KafkaConsumer(
        topic,
        bootstrap_servers=os.environ["QUEUES_KAFKA"],
        group_id="warehouse",
        auto_offset_reset="earliest",
    )


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
