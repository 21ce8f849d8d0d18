# SPDX-License-Identifier: Apache-2.0
"""WebSockets by Flask-Sock: /echo, /close (by the app, with 4001), /late; traced by the helper."""

from __future__ import annotations

import time

import tracing

tracing.start()

from flask import Flask, request  # noqa: E402
from flask_sock import Sock  # noqa: E402

app = Flask(__name__)
sock = Sock(app)


@app.get("/ready")
def ready() -> str:
    return "ready"


@sock.route("/echo")
def echo(ws) -> None:
    while True:
        ws.send(ws.receive())


@sock.route("/close")
def close(ws) -> None:
    ws.receive()
    ws.close(4001, "enough")


@sock.route("/late")
def late(ws) -> None:
    """Goes on for a while after its client has left."""
    try:
        while True:
            ws.receive()
    finally:
        time.sleep(0.1)


@app.before_request
def refuse() -> tuple[str, int] | None:
    return ("no", 403) if request.path == "/refuse" else None
