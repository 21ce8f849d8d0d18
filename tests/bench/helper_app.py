# SPDX-License-Identifier: Apache-2.0
"""One Flask app under one agent, called in-process; prints what a request costs as JSON.

Started by helper.py in a process of its own: agents patch what they touch, and some start threads."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import rss_mb

BATCH = 200


def start_helper(_: str) -> None:
    from skystitch import agent

    agent.start()


def start_skywalking(collector: str) -> None:
    from skywalking import agent, config

    config.init(agent_collector_backend_services=collector, agent_name="shop", agent_instance_name="shop-1")
    agent.start()


def start_opentelemetry(_: str) -> None:
    from opentelemetry import trace
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            assert all(isinstance(span, ReadableSpan) for span in spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    FlaskInstrumentor().instrument()


AGENTS: dict[str, Callable[[str], None]] = {
    "bare": lambda _: None,
    "skystitch": start_helper,
    "skywalking": start_skywalking,
    "opentelemetry": start_opentelemetry,
}

# As the proxy sends them; t0, the third field of sw8-stitch, is the process's start.
TRACE_HEADERS = {
    "HTTP_SW8": "1-NGJmOTJmMzU3N2IzNGRhNmEzY2U5MjlkMGUwZTQ3MzY=-ZGE5MmYzNTc3YjM0ZGE2YTNjZTkyOWQwZTBlNDczNjE="
    "-0-c2hvcA==-c2hvcC0x-R0VUOi91c2Vycy97aWR9-MTI3LjAuMC4xOjgwMDA=",
    "HTTP_SW8_STITCH": f"1;@skystitch-1-0;{time.time_ns() // 1000};s",
}


def make_app() -> Any:
    from flask import Flask

    app = Flask(__name__)

    @app.route("/users/<int:number>")
    def user(number: int) -> str:
        return f"user {number}\n"

    return app


def make_environ() -> dict[str, Any]:
    from werkzeug.test import EnvironBuilder

    environ = EnvironBuilder("/users/42", headers={"User-Agent": "bench", "Accept": "*/*"}).get_environ()
    return {**environ, "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "40000", **TRACE_HEADERS}


def caller(stitched: bool) -> Callable[[int], None]:
    """Returns what makes a number of requests, as a server would; whether the helper answers is checked."""
    app, environ = make_app(), make_environ()
    answer: list[Any] = []

    def start_response(status: str, headers: Any, _: Any = None) -> Callable[[bytes], object]:
        answer[:] = status, headers
        return answer.append

    def call(count: int) -> None:
        for _ in range(count):
            body = app({**environ, "wsgi.input": io.BytesIO()}, start_response)
            assert b"".join(body) == b"user 42\n"
            body.close()
        status, headers = answer
        assert status == "200 OK"
        assert any(name == "sw8-stitch" for name, _ in headers) == stitched, headers

    return call


def settle(limit_s: float = 10.0) -> None:
    """Until the agent's own threads have worked off what the requests left them."""
    deadline = time.monotonic() + limit_s
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.2)
        quiet = quiet + 1 if time.process_time() - before < 0.004 else 0


def measure(agent: str, collector: str, batches: int) -> dict[str, float]:
    AGENTS[agent](collector)
    call = caller(agent == "skystitch")
    call(5 * BATCH)
    settle()
    gc.collect()
    thread_us = []
    others_before = time.process_time() - time.thread_time()
    for _ in range(batches):
        before = time.thread_time()
        call(BATCH)
        thread_us.append((time.thread_time() - before) * 1e6 / BATCH)
    settle()
    others = time.process_time() - time.thread_time() - others_before
    # The least disturbed batch: what else runs on the machine only ever adds.
    least_us = min(thread_us)
    return {
        "thread_us": least_us,
        "all_us": least_us + others * 1e6 / (batches * BATCH),
        "rss_mb": rss_mb(os.getpid()),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))), flush=True)
    # Agents' exit hooks may wait for their collector; nothing is left that matters.
    os._exit(0)
