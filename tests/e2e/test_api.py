# SPDX-License-Identifier: Apache-2.0
"""Local spans, tags and ignore() of an app; segments of jobs that have no request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from expect import FLASK
from harness import Collector, Site, Stage

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def directory(module_stage: Stage) -> Path:
    made = module_stage.path("channel")
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def shop(module_stage: Stage, directory: Path) -> Site:
    collector = Collector(module_stage)
    return Site(
        module_stage,
        "api_app:app",
        name="shop",
        collector=collector,
        config={"stitch": {"channel": str(directory)}},
        env={"SKYSTITCH_CHANNEL_DIR": str(directory)},
    )


def test_spans_of_the_app(shop: Site) -> None:
    shop.collector.clear()
    response = shop.proxy.get("/item/7")
    segment = shop.collector.one()
    assert response.text == f"7{segment.trace}"
    spans = {span.id: span for span in segment.spans}
    assert [(span.id, span.parent, span.operation) for span in spans.values()] == [
        (0, -1, "GET:/item/<int:item>"),
        (1, 0, "api_app.item"),
        (2, 1, "prices"),
        (3, 2, "price of"),
    ]
    assert {span.type for span in segment.spans[1:]} == {"Local"}
    assert (spans[1].component, spans[1].tag("user")) == (FLASK, "7")
    assert spans[3].tag("item") == "7"
    assert [log.data for log in spans[2].logs] == [{"event": "begun", "items": "1"}]
    assert not segment.size_limited


def test_in_the_agents_shape(stage: Stage) -> None:
    """There is no span of the handler: what was said of it is the entry's."""
    shop = Site(stage, "api_app:app", name="shop", config={"agent": {"shape": "skywalking-python"}})
    _, segment = shop.get("/item/7")
    assert [(span.id, span.parent, span.operation) for span in segment.spans] == [
        (0, -1, "/item/7"),
        (2, 0, "prices"),
        (3, 2, "price of"),
    ]
    assert [name for name, _ in segment.entry.tags] == ["http.method", "http.url", "http.status_code", "user"]


def test_ignored_request(shop: Site) -> None:
    shop.collector.clear()
    before = shop.proxy.metric("skystitch_requests_untraced_total", reason="app")
    assert shop.proxy.get("/ignored").text == "not reported"
    assert shop.proxy.get("/item/1").status_code == 200
    assert shop.collector.one().entry.operation == "GET:/item/<int:item>"
    assert shop.proxy.metric("skystitch_requests_untraced_total", reason="app") == before + 1


def run_job(url: str, **env: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", str(APPS / "job.py"), url],
        env={"PATH": "/usr/bin:/bin", **env},
        check=True,
        timeout=30,
        capture_output=True,
    )


def test_job(shop: Site, directory: Path) -> None:
    """Under a name of its own, and the trace goes on into the shop."""
    shop.collector.clear()
    run_job(
        f"{shop.proxy.url}/item/7",
        SKYSTITCH_CHANNEL="auto",
        SKYSTITCH_CHANNEL_DIR=str(directory),
        SKYSTITCH_SERVICE="jobs",
        SKYSTITCH_INSTANCE="jobs-1",
    )
    job = shop.collector.one(lambda segment: segment.service == "jobs")
    called = shop.collector.one(lambda segment: segment.service == "shop")
    root, call = job.spans
    assert (job.instance, job.trace) == ("jobs-1", called.trace)
    assert (root.id, root.parent, root.type, root.operation) == (0, -1, "Local", "nightly")
    assert root.tag("run") == "1"
    assert (call.id, call.parent, call.type, call.operation) == (1, 0, "Exit", "/item/7")
    (ref,) = called.entry.refs
    assert (ref.trace, ref.segment, ref.span) == (job.trace, job.id, 1)
    assert (ref.service, ref.instance, ref.endpoint) == ("jobs", "jobs-1", "nightly")
    assert ref.address == call.peer


def test_job_without_a_name(shop: Site, directory: Path) -> None:
    """The proxy's; nobody can be told who calls."""
    shop.collector.clear()
    run_job(
        f"{shop.proxy.url}/item/7",
        SKYSTITCH_CHANNEL="auto",
        SKYSTITCH_CHANNEL_DIR=str(directory),
    )
    job = shop.collector.one(lambda segment: segment.spans[0].operation == "nightly")
    called = shop.collector.one(lambda segment: segment is not job and segment.spans[0].type == "Entry")
    assert (job.service, job.instance) == ("shop", "shop-1")
    assert called.entry.refs == ()


def test_job_without_a_channel(shop: Site) -> None:
    shop.collector.clear()
    before = shop.proxy.metric("skystitch_stitch_own_segments_total", result="taken")
    run_job(f"{shop.proxy.url}/item/7")
    assert shop.collector.one().entry.refs == ()
    assert shop.proxy.metric("skystitch_stitch_own_segments_total", result="taken") == before
