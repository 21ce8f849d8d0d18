# SPDX-License-Identifier: Apache-2.0
"""agent.shape: skywalking-python gives the segments that the SkyWalking Python agent gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from expect import DJANGO, FLASK, REQUESTS
from harness import Collector, Origin, Segment, Site, Span, Stage
from test_upstream_agent import in_worker, with_agent

SHAPE = {"agent": {"shape": "skywalking-python"}}
APPS = {"flask_app:app": FLASK, "django_app:application": DJANGO}


@pytest.fixture(scope="module")
def flask_site(module_stage: Stage) -> Iterator[Site]:
    return Site(module_stage, "flask_app:app", config=SHAPE)


@pytest.mark.parametrize(
    ("path", "status", "failed"),
    [
        ("/users/42?verbose=1", 200, False),
        ("/redirect", 302, False),
        ("/abort/403", 403, True),
        ("/nope/42", 404, True),
        ("/status/503", 503, True),
    ],
)
def test_an_answer_is_one_span_with_the_raw_path(flask_site: Site, path: str, status: int, failed: bool) -> None:
    response, segment = flask_site.get(path, allow_redirects=False)
    assert response.status_code == status
    bare = path.partition("?")[0]
    assert [span.operation for span in segment.spans] == [bare]
    assert segment.entry.component == FLASK
    assert segment.entry.error == failed
    assert segment.entry.tags == (
        ("http.method", "GET"),
        ("http.url", f"http://127.0.0.1:{flask_site.proxy.port}{bare}"),
        ("http.status_code", str(status)),
    )


def test_an_exception_is_the_entrys_with_the_frame_that_raised(flask_site: Site) -> None:
    _, segment = flask_site.get("/boom/x")
    assert len(segment.spans) == 1
    assert segment.entry.error
    (log,) = segment.entry.logs
    assert list(log.data) == ["Traceback"]
    assert log.data["Traceback"].splitlines()[-1].startswith("ValueError: ")
    assert segment.entry.start_ms <= log.at_ms <= segment.entry.end_ms


def test_a_handled_exception_is_no_error(flask_site: Site) -> None:
    """The agent calls it one even where the answer is 200: a mistake that nobody builds on."""
    _, segment = flask_site.get("/handled-fine")
    assert not segment.entry.error
    assert [list(log.data) for log in segment.entry.logs] == [["Traceback"]]


def test_outgoing_calls_hang_under_the_entry(stage: Stage) -> None:
    site = Site(stage, "flask_app:app", config=SHAPE)
    seen = Origin(stage, tcp=True)
    _, segment = site.get(f"/call?url=http://{seen.address}/down/stream")
    assert [(span.type, span.parent) for span in segment.spans] == [("Entry", -1), ("Exit", 0)]
    exit_span = segment.spans[1]
    assert (exit_span.operation, exit_span.component, exit_span.peer) == ("/down/stream", REQUESTS, seen.address)


def shape_of(span: Span, segment: Segment) -> tuple[Any, ...]:
    """What dashboards and rules can see of a span; ids but as who is whose parent, hosts left out."""
    parent = next((found.type for found in segment.spans if found.id == span.parent), "none")
    tags = [(key, urlsplit(value).path if key == "http.url" else value) for key, value in span.tags]
    logs = [list(log.data) for log in span.logs]
    return (span.type, span.layer, span.component, span.operation, parent, span.error, tags, logs)


@pytest.mark.matrix
@pytest.mark.parametrize("app", APPS)
def test_beside_the_agent_itself(stage: Stage, app: str) -> None:
    """The same requests to both. Left out: what upstream-agent mistakes make different."""
    collector = Collector(stage)
    downstream = Origin(stage, tcp=True)
    site = Site(stage, app, collector=collector, config=SHAPE)
    agent = with_agent(stage, collector, "agent", app, options=in_worker(stage))
    collector.wait(1, lambda segment: segment.service == "agent")
    paths = ["/", "/users/42?x=1", "/status/503", f"/call?url=http://{downstream.address}/down/stream"]
    if app == "django_app:application":
        paths = ["/", "/items/42?x=1", f"/call?url=http://{downstream.address}/down/stream"]
    for path in paths:
        bare = path.partition("?")[0]
        ours = site.get(path)[1]
        connection = agent.connection()
        connection.request("GET", path, headers={"Host": f"127.0.0.1:{site.proxy.port}"})
        connection.getresponse().read()
        theirs = collector.one(lambda found, bare=bare: found.service == "agent" and found.entry.operation == bare)
        assert [shape_of(span, ours) for span in ours.spans] == [
            shape_of(span, theirs) for span in sorted(theirs.spans, key=lambda span: span.id)
        ]
