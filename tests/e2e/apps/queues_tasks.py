# SPDX-License-Identifier: Apache-2.0
"""A task of celery's, for the app that asks for it and for the worker that runs it."""

from __future__ import annotations

import os

import tracing

tracing.start()

import skystitch  # noqa: E402
from celery import Celery  # noqa: E402

app = Celery("tasks", broker=os.environ["QUEUES_RABBITMQ"])


@app.task(name="order")
def order(item: str) -> None:
    with skystitch.span("work"):
        print("worked on", item, flush=True)
