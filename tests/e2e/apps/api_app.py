# SPDX-License-Identifier: Apache-2.0
"""Says of itself what skystitch's API lets it say."""

from concurrent.futures import ThreadPoolExecutor

import tracing

tracing.start()

import skystitch  # noqa: E402
from flask import Flask, request  # noqa: E402

app = Flask("shop")
pool = ThreadPoolExecutor(1)


@skystitch.trace("price of")
def price(item: int) -> str:
    skystitch.set_tag("item", item)
    return f"{item}"


@app.route("/item/<int:item>")
def item(item: int) -> str:
    skystitch.set_tag("user", "7")
    with skystitch.span("prices") as prices:
        prices.log("begun", items=1)
        return pool.submit(price, item).result() + skystitch.current_trace_id()


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.route("/ready")
def ready() -> str:
    return "ready"


@app.route("/ignored")
def ignored() -> str:
    skystitch.ignore()
    return "not reported"
