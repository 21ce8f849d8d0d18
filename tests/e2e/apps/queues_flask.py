# SPDX-License-Identifier: Apache-2.0
"""Puts messages on the queues that QUEUES_RABBITMQ and QUEUES_KAFKA name."""

from __future__ import annotations

import os

import tracing

tracing.start()

from flask import Flask  # noqa: E402

app = Flask("shop")


@app.route("/ready")
def ready() -> str:
    return "ready"


@app.post("/rabbitmq/<queue>")
def rabbitmq(queue: str) -> str:
    import pika

    with pika.BlockingConnection(pika.URLParameters(os.environ["QUEUES_RABBITMQ"])) as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_publish("", queue, b"tea")
    return "published"


@app.post("/kafka/<topic>")
def kafka(topic: str) -> str:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=os.environ["QUEUES_KAFKA"])
    try:
        producer.send(topic, b"tea").get(timeout=30)
    finally:
        producer.close()
    return "sent"


@app.post("/celery/<item>")
def celery(item: str) -> str:
    from queues_tasks import order

    order.delay(item)
    return "ordered"
