# SPDX-License-Identifier: Apache-2.0
"""The upstream SkyWalking Python agent as the caller before us and as the service behind us."""

from __future__ import annotations

from typing import Any

import pytest

from expect import FLASK, REQUESTS
from harness import Collector, Gunicorn, Site, Skystitch, Stage

pytestmark = pytest.mark.matrix


def with_agent(stage: Stage, collector: Collector, name: str, app: str = "flask_app:app", **options: Any) -> Gunicorn:
    """An app traced by the upstream agent, started by its own command line."""
    env = {
        "APP_AGENT": "none",
        "SW_AGENT_COLLECTOR_BACKEND_SERVICES": collector.address,
        "SW_AGENT_NAME": name,
        "SW_AGENT_INSTANCE_NAME": f"{name}-1",
        "SW_AGENT_PROTOCOL": "grpc",
        "SW_AGENT_LOGGING_LEVEL": "ERROR",
    }
    return Gunicorn(stage, app, name=name, env={**env, **options.pop("env", {})}, **options)


def in_worker(stage: Stage) -> list[str]:
    """gunicorn's options by which the agent starts in each worker."""
    path = stage.path("post_fork.py")
    path.write_text("def post_fork(server, worker):\n    from skywalking import agent\n    agent.start()\n")
    return ["--config", str(path)]


def test_as_the_caller(stage: Stage) -> None:
    """Its exit span is our entry's parent; our sw8 goes on from there."""
    collector = Collector(stage)
    stock = Site(stage, "django_app:application", name="stock", collector=collector)
    caller = with_agent(stage, collector, "caller", options=in_worker(stage))
    collector.wait(1, lambda segment: segment.service == "caller")
    connection = caller.connection()
    connection.request("GET", f"/call?url={stock.proxy.url}/items/3")
    assert connection.getresponse().status == 200
    segment = collector.one(lambda segment: segment.service == "stock")
    parent = collector.one(lambda found: found.trace == segment.trace and found.service == "caller")
    exit_span = parent.of_type("Exit")[0]
    ref = segment.entry.refs[0]
    assert (ref.segment, ref.span, ref.service) == (parent.id, exit_span.id, "caller")
    assert ref.address == exit_span.peer == f"127.0.0.1:{stock.proxy.port}"
    assert exit_span.component == REQUESTS
    assert segment.entry.operation == "GET:/items/<int:pk>"


def test_as_the_service_behind_us(stage: Stage) -> None:
    """mode gateway: our exit span is its entry's parent, and nothing of ours is in its request."""
    collector = Collector(stage)
    app = with_agent(stage, collector, "shop", options=in_worker(stage))
    proxy = Skystitch(stage, app.address, service="edge", collector=collector, config={"agent": {"mode": "gateway"}})
    collector.wait(1, lambda segment: segment.service == "shop")
    seen = proxy.get("/echo").json()
    assert not [name for name, _ in seen["headers"] if name.lower().startswith("sw8-stitch")]
    edge = collector.one(lambda segment: segment.service == "edge")
    shop = collector.one(lambda segment: segment.entry.operation == "/echo")
    assert edge.trace == shop.trace
    assert [(span.id, span.type) for span in edge.spans] == [(0, "Entry"), (1, "Exit")]
    exit_span = edge.span(1)
    assert (exit_span.parent, exit_span.layer, exit_span.peer) == (0, "Http", app.address)
    assert exit_span.tag("http.status_code") == "200"
    ref = shop.entry.refs[0]
    assert (ref.segment, ref.span, ref.service, ref.instance) == (edge.id, 1, "edge", "edge-1")
    assert ref.endpoint == edge.entry.operation == "GET:/echo"
    assert ref.address == exit_span.peer
    assert shop.entry.component == FLASK


def test_both_in_one_app(stage: Stage) -> None:
    """A migration's middle: the helper says that it stays off, and nothing breaks."""
    collector = Collector(stage)
    app = with_agent(stage, collector, "shop", options=in_worker(stage), env={"APP_AGENT": "skystitch"})
    proxy = Skystitch(stage, app.address, service="edge", collector=collector)
    assert proxy.get("/boom/x").status_code == 500
    edge = collector.one(lambda segment: segment.service == "edge" and segment.path() == "/boom/x")
    shop = collector.one(lambda segment: segment.entry.operation == "/boom/x")
    assert [span.operation for span in edge.spans] == ["GET:/boom/x"], "the proxy's own part"
    assert "the SkyWalking agent is active" in app.log()
    assert shop.entry.refs[0].segment == edge.id
