# SPDX-License-Identifier: Apache-2.0
"""The shop: Flask, asks the stock service with requests."""

import os

from skystitch import agent

agent.start()

import requests  # noqa: E402
from flask import Flask, Response, jsonify  # noqa: E402

STOCK = os.environ["STOCK_URL"]

app = Flask(__name__)


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.get("/items/<int:id>")
def item(id: int) -> tuple[Response, int]:
    answer = requests.get(f"{STOCK}/stock/{id}", timeout=5)
    if answer.status_code != 200:
        return jsonify(item=id, error="the stock service has no answer"), 502
    return jsonify(item=id, pieces=answer.json()["pieces"]), 200


@app.get("/checkout/<word>")
def checkout(word: str) -> str:
    raise ValueError(f"no basket is called {word}")
