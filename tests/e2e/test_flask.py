# SPDX-License-Identifier: Apache-2.0
"""What becomes of each situation in a Flask app, seen from the collector."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from expect import FLASK, Expected, check, check_log, check_times
from harness import Site, Stage

REPORT = "8c9b1a2e-0000-4000-8000-000000000001"

SITUATIONS = {
    "route": ("GET", "/", Expected(200, "GET:/", "flask_app.index")),
    "converter": ("GET", "/users/42?verbose=1", Expected(200, "GET:/users/<int:id>", "flask_app.user")),
    "path converter": ("GET", "/files/a/b.txt", Expected(200, "GET:/files/<path:name>", "flask_app.files")),
    "blueprint": (
        "GET",
        f"/admin/reports/{REPORT}",
        Expected(200, "GET:/admin/reports/<uuid:report>", "flask_app.report"),
    ),
    "class view": ("DELETE", "/shelves/a", Expected(204, "DELETE:/shelves/<place>", "flask_app.Shelf")),
    "post": ("POST", "/orders", Expected(201, "POST:/orders", "flask_app.orders")),
    "head": ("HEAD", "/users/42", Expected(200, "HEAD:/users/<int:id>", "flask_app.user")),
    "unknown path": ("GET", "/nope/42", Expected(404, "GET:/*")),
    "converter refuses": ("GET", "/users/x", Expected(404, "GET:/*")),
    "wrong method": ("POST", "/users/42", Expected(405, "POST:/users/{id}")),
    "redirect": ("GET", "/redirect", Expected(302, "GET:/redirect", "flask_app.redirected")),
    "slash redirect": ("GET", "/slash", Expected(308, "GET:/slash")),
    "abort 403": ("GET", "/abort/403", Expected(403, "GET:/abort/<int:status>", "flask_app.aborted")),
    "abort 404": ("GET", "/abort/404", Expected(404, "GET:/abort/<int:status>", "flask_app.aborted")),
    "abort 500": (
        "GET",
        "/abort/500",
        Expected(
            500,
            "GET:/abort/<int:status>",
            "flask_app.aborted",
            "werkzeug.exceptions.InternalServerError",
            failed=True,
        ),
    ),
    "answers 503": ("GET", "/status/503", Expected(503, "GET:/status/<int:status>", "flask_app.status")),
    "handled with 409": (
        "GET",
        "/handled",
        Expected(409, "GET:/handled", "flask_app.handled", "flask_app.OutOfStockError"),
    ),
    "handled with 200": (
        "GET",
        "/handled-fine",
        Expected(200, "GET:/handled-fine", "flask_app.handled_fine", "flask_app.TeapotError"),
    ),
    "unhandled": (
        "GET",
        "/boom/x",
        Expected(500, "GET:/boom/<word>", "flask_app.boom", "ValueError", failed=True),
    ),
    "before_request answers": ("GET", "/?gate=closed", Expected(200, "GET:/", "flask_app.index")),
    "before_request raises": (
        "GET",
        "/?gate=broken",
        Expected(500, "GET:/", "flask_app.index", "LookupError", failed=True),
    ),
    "after_request raises": (
        "GET",
        "/?after=broken",
        Expected(500, "GET:/", "flask_app.index", "LookupError", failed=True),
    ),
    "teardown raises": (
        "GET",
        "/teardown-broken",
        Expected(500, "GET:/teardown-broken", "flask_app.teardown_broken", "LookupError", failed=True),
    ),
    "stream": ("GET", "/stream", Expected(200, "GET:/stream", "flask_app.stream")),
    "file": ("GET", "/file", Expected(200, "GET:/file", "flask_app.file")),
}


@pytest.fixture(scope="module", params=["sync", "gthread"])
def site(module_stage: Stage, request: pytest.FixtureRequest) -> Iterator[Site]:
    return Site(module_stage, "flask_app:app", name=f"flask-{request.param}", worker_class=request.param)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situation(site: Site, situation: str) -> None:
    method, path, expected = SITUATIONS[situation]
    response, segment = site.traced(method, path)
    assert response.status_code == expected.status
    check(site, segment, method, path, FLASK, expected)


def test_the_stack_ends_where_it_was_raised(site: Site) -> None:
    _, segment = site.get("/boom/x")
    log = segment.span(1).logs[0].data
    assert log["message"] == "no such word: x"
    assert "in boom" in log["stack"]
    assert log["stack"].rstrip().endswith("ValueError: no such word: x")


def test_a_stream_is_as_long_as_its_parts_take(site: Site) -> None:
    _, segment = site.get("/stream")
    for span in segment.spans:
        assert span.end_ms - span.start_ms >= 140, span


def test_exception_in_a_stream(site: Site) -> None:
    site.collector.clear()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        site.proxy.get("/stream-broken")
    segment = site.collector.one()
    app = segment.span(1)
    assert segment.entry.operation == "GET:/stream-broken"
    assert segment.entry.tag("http.status_code") == "200"
    assert segment.entry.error
    assert segment.entry.tag("failure") == "answer cut short"
    assert app.error
    check_log(app, "RuntimeError")
    check_times(segment)


def test_requests_at_once_keep_their_own_part(site: Site) -> None:
    site.collector.clear()
    paths = [f"/users/{number}" for number in range(20)] + [f"/boom/{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda path: site.proxy.get(path).status_code, paths))
    assert statuses == [200] * 20 + [500] * 20
    segments = site.collector.wait(40)
    assert sorted(segment.path() for segment in segments) == sorted(paths)
    for segment in segments:
        number = segment.path().rsplit("/", 1)[1]
        logs = [log.data["message"] for span in segment.spans for log in span.logs]
        if segment.path().startswith("/boom"):
            assert segment.entry.operation == "GET:/boom/<word>"
            assert logs == [f"no such word: {number}"]
        else:
            assert segment.entry.operation == "GET:/users/<int:id>"
            assert logs == []
    assert len({segment.id for segment in segments}) == 40
    assert len({segment.trace for segment in segments}) == 40


def test_the_app_sees_the_request_as_it_came(site: Site) -> None:
    response, _ = site.traced(
        "POST", "/echo?a=1&a=2%2F", data={"word": "ä", "n": "1"}, headers={"X-Thing": "one, two"}
    )
    seen = response.json()
    assert seen["uri"] == "/echo?a=1&a=2%2F"
    assert seen["form"] == {"word": "ä", "n": "1"}
    assert ["X-Thing", "one, two"] in seen["headers"]
    assert ["Host", f"127.0.0.1:{site.proxy.port}"] in seen["headers"]


@pytest.mark.parametrize("setting", ["APP_PROPAGATE", "APP_DEBUG"])
def test_unhandled_exception_that_leaves_the_app(stage: Stage, setting: str) -> None:
    """PROPAGATE_EXCEPTIONS or the debug mode: the exception goes through to gunicorn, which answers."""
    site = Site(stage, "flask_app:app", env={setting: "1"})
    site.get("/")
    response, segment = site.get("/boom/x")
    assert response.status_code == 500
    expected = Expected(500, "GET:/boom/<word>", "flask_app.boom", "ValueError", failed=True)
    check(site, segment, "GET", "/boom/x", FLASK, expected)


def test_every_message_of_the_helper_was_used(site: Site) -> None:
    """After all the tests above: nothing late, unknown or bad, and no wait was given up."""
    bad = {
        (name, *labels): value
        for (name, labels), value in site.proxy.metrics().items()
        if name.startswith("skystitch_stitch_") and value
        if any(
            pair
            in {
                ("result", "unknown"),
                ("result", "late"),
                ("result", "duplicate"),
                ("result", "malformed"),
                ("result", "overflow"),
                ("reason", "timeout"),
            }
            for pair in labels
        )
    }
    assert not bad
    assert site.proxy.metric("skystitch_stitch_lost_total") == 0
