# SPDX-License-Identifier: Apache-2.0
"""One app under one agent, called in-process; prints what a request costs as JSON.

Started by helper.py in a process of its own: agents patch what they touch, and some start threads."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


BODY = b"user 42\n"
Calls = Callable[[int], None]  # makes so many requests, as a server would


def check(status: object, headers: Any, stitched: bool) -> None:
    """Whether the helper answers, or did not."""
    assert str(status).startswith("200"), status
    names = [name.decode() if isinstance(name, bytes) else name for name, _ in headers]
    assert ("sw8-stitch" in names) == stitched, names


def wsgi_calls(app: Any, stitched: bool) -> Calls:
    from werkzeug.test import EnvironBuilder

    environ = EnvironBuilder("/users/42", headers={"User-Agent": "bench", "Accept": "*/*"}).get_environ()
    environ.update(REMOTE_ADDR="127.0.0.1", REMOTE_PORT="40000", **TRACE_HEADERS)
    answer: list[Any] = []

    def start_response(status: str, headers: Any, _: Any = None) -> Callable[[bytes], object]:
        answer[:] = status, headers
        return answer.append

    def call(count: int) -> None:
        for _ in range(count):
            body = app({**environ, "wsgi.input": io.BytesIO()}, start_response)
            assert b"".join(body) == BODY
            body.close()
        check(*answer, stitched)

    return call


def asgi_calls(app: Any, stitched: bool) -> Calls:
    fields = {"host": "localhost", "user-agent": "bench", "accept": "*/*"}
    fields.update({name[5:].lower().replace("_", "-"): value for name, value in TRACE_HEADERS.items()})
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/users/42",
        "raw_path": b"/users/42",
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 40000),
        "server": ("localhost", 80),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
    loop = asyncio.new_event_loop()
    answer: list[Any] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer[:] = message["status"], message["headers"]
        else:
            assert message["body"] == BODY

    async def many(count: int) -> None:
        never = loop.create_future()
        for _ in range(count):
            body = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive(body: Any = body) -> Any:
                return body.pop() if body else await asyncio.shield(never)

            await app({**scope}, receive, send)
        check(*answer, stitched)

    return lambda count: loop.run_until_complete(many(count))


def flask_calls(stitched: bool) -> Calls:
    from flask import Flask

    app = Flask(__name__)

    @app.route("/users/<int:number>")
    def user(number: int) -> str:
        return f"user {number}\n"

    return wsgi_calls(app, stitched)


def configure_django(view: Any) -> None:
    import django
    from django.conf import settings
    from django.urls import path

    global urlpatterns
    urlpatterns = [path("users/<int:number>", view)]
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], LOGGING_CONFIG=None)
    django.setup()


def django_calls(stitched: bool) -> Calls:
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse

    configure_django(lambda _, number: HttpResponse(f"user {number}\n"))
    return wsgi_calls(WSGIHandler(), stitched)


def django_asgi_calls(stitched: bool) -> Calls:
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse

    async def user(_: Any, number: int) -> Any:
        return HttpResponse(f"user {number}\n")

    configure_django(user)
    return asgi_calls(ASGIHandler(), stitched)


def starlette_calls(stitched: bool) -> Calls:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def user(request: Any) -> Any:
        return PlainTextResponse(f"user {request.path_params['number']}\n")

    return asgi_calls(Starlette(routes=[Route("/users/{number:int}", user)]), stitched)


FRAMEWORKS: dict[str, Callable[[bool], Calls]] = {
    "flask": flask_calls,
    "django": django_calls,
    "django-asgi": django_asgi_calls,
    "starlette": starlette_calls,
}


def settle(limit_s: float = 10.0) -> None:
    """Until the agent's own threads have worked off what the requests left them."""
    deadline = time.monotonic() + limit_s
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.2)
        quiet = quiet + 1 if time.process_time() - before < 0.004 else 0


def rss_mb() -> float:
    """This process's alone, and read here: measure.py would load gRPC and what else the app does not use."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found
    return int(found.group(1)) / 1024


def measure(framework: str, agent: str, collector: str, batches: int) -> dict[str, float]:
    AGENTS[agent](collector)
    call = FRAMEWORKS[framework](agent == "skystitch")
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
        "rss_mb": rss_mb(),
    }


def weigh(framework: str, agent: str, collector: str, counts: list[int]) -> list[float]:
    """MB resident after so many requests, each time counted from the first."""
    AGENTS[agent](collector)
    call = FRAMEWORKS[framework](agent == "skystitch")
    done, resident = 0, []
    for count in counts:
        while done < count:
            call(BATCH)
            done += BATCH
        settle()
        gc.collect()
        resident.append(rss_mb())
    return resident


if __name__ == "__main__":
    what, *contender = sys.argv[1:5]
    numbers = [int(number) for number in sys.argv[5:]]
    print(json.dumps(measure(*contender, *numbers) if what == "measure" else weigh(*contender, numbers)), flush=True)
    # Agents' exit hooks may wait for their collector; nothing is left that matters.
    os._exit(0)
