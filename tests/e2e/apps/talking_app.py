# SPDX-License-Identifier: Apache-2.0
"""A Flask app that logs: at its start, in requests, beside them."""

from __future__ import annotations

import gc
import logging
import os
import threading

import tracing

tracing.start()

from flask import Flask, request  # noqa: E402

logging.basicConfig(format="%(levelname)s [%(tid)s] %(message)s")
logger = logging.getLogger("shop.cart")
logger.warning("the app starts in %s", "a worker")

app = Flask(__name__)


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.get("/say/<level>")
def say(level: str) -> str:
    logger.log(logging.getLevelName(level.upper()), "said: %s", request.args.get("text", "something"))
    return "said"


@app.get("/many/<int:count>")
def many(count: int) -> str:
    for number in range(count):
        logger.error("one of many: %d", number)
    return "said"


@app.get("/catch")
def catch() -> str:
    try:
        {}["missing"]
    except KeyError:
        logger.exception("caught")
    return "caught"


@app.get("/beside")
def beside() -> str:
    thread = threading.Thread(target=logger.error, args=("beside a request",), name="beside")
    thread.start()
    thread.join()
    return "said"


@app.get("/collect")
def collect() -> str:
    for _ in range(1000):
        loop: list[object] = []
        loop.append(loop)
    del loop
    gc.collect()
    return "collected"


@app.get("/burn/<int:ms>")
def burn(ms: int) -> str:
    import time

    until = time.process_time() + ms / 1000
    while time.process_time() < until:
        pass
    return "burnt"


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())
