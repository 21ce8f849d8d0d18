# SPDX-License-Identifier: Apache-2.0
"""What becomes of each situation in a Django app, seen from the collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from expect import DJANGO, Expected, check, check_log, check_times
from harness import Site, Stage

REPORT = "8c9b1a2e-0000-4000-8000-000000000001"

SITUATIONS = {
    "route": ("GET", "/items/42?verbose=1", Expected(200, "GET:/items/<int:pk>", "django_app.item")),
    "regular expression": ("GET", "/parts/7/", Expected(200, "GET:/parts/<pk>/", "django_app.item")),
    "included": (
        "GET",
        f"/admin/reports/{REPORT}",
        Expected(200, "GET:/admin/reports/<uuid:report>", "django_app.<lambda>"),
    ),
    "class view": ("GET", "/shelves/a", Expected(200, "GET:/shelves/<place>", "django_app.Shelf")),
    "class view, wrong method": (
        "POST",
        "/shelves/a",
        Expected(405, "POST:/shelves/<place>", "django_app.Shelf"),
    ),
    "head": ("HEAD", "/items/42", Expected(200, "HEAD:/items/<int:pk>", "django_app.item")),
    "unknown path": ("GET", "/nope/42", Expected(404, "GET:/*")),
    "wrong method": ("POST", "/only-get", Expected(405, "POST:/only-get", "django_app.only_get")),
    "redirect": ("GET", "/redirect", Expected(302, "GET:/redirect", "django_app.redirected")),
    "slash redirect": ("GET", "/slash", Expected(301, "GET:/slash")),
    "Http404": ("GET", "/missing", Expected(404, "GET:/missing", "django_app.missing")),
    "PermissionDenied": ("GET", "/denied", Expected(403, "GET:/denied", "django_app.denied")),
    "answers 503": ("GET", "/status/503", Expected(503, "GET:/status/<int:status>", "django_app.status")),
    "unhandled": (
        "GET",
        "/boom/x",
        Expected(500, "GET:/boom/<word>", "django_app.boom", "ValueError", failed=True),
    ),
    "middleware answers": ("GET", "/items/42?gate=closed", Expected(200, "GET:/items/{id}")),
    "stream": ("GET", "/stream", Expected(200, "GET:/stream", "django_app.stream")),
}


@pytest.fixture(scope="module", params=["sync", "gthread"])
def site(module_stage: Stage, request: pytest.FixtureRequest) -> Iterator[Site]:
    return Site(module_stage, "django_app:application", name=f"django-{request.param}", worker_class=request.param)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situation(site: Site, situation: str) -> None:
    method, path, expected = SITUATIONS[situation]
    response, segment = site.traced(method, path)
    assert response.status_code == expected.status
    check(site, segment, method, path, DJANGO, expected)


def test_middleware_raises(site: Site) -> None:
    """No view was chosen, so the path is folded; the exception is there all the same."""
    response, segment = site.get("/items/42?gate=broken")
    assert response.status_code == 500
    assert segment.entry.operation == "GET:/items/{id}"
    assert segment.entry.error
    check_log(segment.span(1), "LookupError")
    assert segment.span(1).error
    check_times(segment)


def test_a_stream_is_as_long_as_its_parts_take(site: Site) -> None:
    _, segment = site.get("/stream")
    for span in segment.spans:
        assert span.end_ms - span.start_ms >= 140, span


def test_exception_in_a_stream(site: Site) -> None:
    site.collector.clear()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        site.proxy.get("/stream-broken")
    segment = site.collector.one()
    assert segment.entry.operation == "GET:/stream-broken"
    assert segment.entry.error
    assert segment.entry.tag("failure") == "answer cut short"
    assert segment.span(1).error
    check_log(segment.span(1), "RuntimeError")
    check_times(segment)


def test_bad_host_is_still_a_400(site: Site) -> None:
    """The app's own refusal must not become a 500 by being traced."""
    response, segment = site.get("/items/42", headers={"Host": "not.allowed.test"})
    assert response.status_code == 400
    assert not segment.entry.error


def test_a_form_reaches_the_view(site: Site) -> None:
    response, _ = site.traced("POST", "/echo", data={"word": "ä"})
    assert response.json()["form"] == {"word": "ä"}


def test_unhandled_exception_with_debug(stage: Stage) -> None:
    site = Site(stage, "django_app:application", env={"APP_DEBUG": "1"})
    response, segment = site.get("/boom/x")
    assert response.status_code == 500
    assert "no such word: x" in response.text
    expected = Expected(500, "GET:/boom/<word>", "django_app.boom", "ValueError", failed=True)
    check(site, segment, "GET", "/boom/x", DJANGO, expected)
