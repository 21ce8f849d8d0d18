# SPDX-License-Identifier: Apache-2.0
"""What a whole segment looks like, said in one line a request."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness import Segment, Site, Span

FLASK, DJANGO, HTTP, REQUESTS = 7001, 7004, 49, 7002


@dataclass(frozen=True)
class Expected:
    """A segment of one entry span and, with a handler, the app's span below it.

    raised: kind of the exception that stands in the app's log. failed: the app's span is an error.
    """

    status: int
    operation: str
    handler: str = ""
    raised: str = ""
    failed: bool = False


def check_times(segment: Segment) -> None:
    entry = segment.entry
    for span in segment.spans:
        assert entry.start_ms <= span.start_ms <= span.end_ms <= entry.end_ms, segment
        for log in span.logs:
            assert span.start_ms <= log.at_ms <= span.end_ms, segment


def check_log(span: Span, kind: str) -> None:
    """One log, as SkyWalking's Java agent writes it, with the frame that raised."""
    assert len(span.logs) == 1, span
    data = span.logs[0].data
    assert list(data) == ["event", "error.kind", "message", "stack"], data
    assert data["event"] == "error"
    assert data["error.kind"] == kind
    assert data["message"]
    assert data["stack"].startswith("Traceback (most recent call last):"), data["stack"]
    assert data["stack"].splitlines()[-1].startswith(f"{kind}: ")


def check(site: Site, segment: Segment, method: str, path: str, component: int, expected: Expected) -> None:
    """Compares every field of the segment of a request that came without sw8."""
    entry = segment.entry
    assert re.fullmatch(r"[0-9a-f]{32}", segment.trace)
    assert re.fullmatch(r"[0-9a-f]{32}", segment.id)
    assert (segment.service, segment.instance) == (site.proxy.service, site.proxy.instance)
    assert not segment.size_limited
    assert (entry.parent, entry.type, entry.layer, entry.component) == (-1, "Entry", "Http", component)
    assert entry.operation == expected.operation
    assert entry.error == (expected.status >= 500)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", entry.peer)
    assert entry.tags == (
        ("http.method", method),
        ("http.url", f"http://127.0.0.1:{site.proxy.port}{path.partition('?')[0]}"),
        ("http.status_code", str(expected.status)),
    )
    assert entry.refs == ()
    assert entry.logs == ()
    if not expected.handler:
        assert len(segment.spans) == 1, segment
    else:
        assert len(segment.spans) == 2, segment
        app = segment.span(1)
        assert (app.parent, app.type, app.layer, app.component) == (0, "Local", "Unknown", component)
        assert app.operation == expected.handler
        assert app.error == expected.failed
        assert app.refs == ()
        if expected.raised:
            check_log(app, expected.raised)
        else:
            assert app.logs == ()
    check_times(segment)
