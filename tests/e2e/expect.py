# SPDX-License-Identifier: Apache-2.0
"""What a whole segment looks like, said in one line a request."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness import Segment, Site, Span

FLASK, DJANGO, HTTP, REQUESTS = 7001, 7004, 49, 7002


@dataclass(frozen=True)
class Expected:
    """A segment of one entry span and, with a handler, the app's span below it.

    raised: kind of the exception that stands in the app's log. failed: the app's span is an error. failure: what
    the proxy says of an app that did not answer. calls: how many spans are below the app's, see check_call.
    """

    status: int
    operation: str
    handler: str = ""
    raised: str = ""
    failed: bool = False
    failure: str = ""
    calls: int = 0


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
        *([("failure", expected.failure)] if expected.failure else []),
    )
    assert entry.refs == ()
    assert entry.logs == ()
    if not expected.handler:
        assert len(segment.spans) == 1, segment
    else:
        assert len(segment.spans) == 2 + expected.calls, segment
        app = segment.span(1)
        assert (app.parent, app.type, app.layer, app.component) == (0, "Local", "Unknown", component)
        assert app.operation == expected.handler
        assert app.error == expected.failed
        assert (app.peer, app.tags, app.refs) == ("", (), ())
        if expected.raised:
            check_log(app, expected.raised)
        else:
            assert app.logs == ()
    check_times(segment)


def check_call(segment: Segment, number: int, url: str, *, status: int = 200) -> None:
    """Compares every field of the span of a call by requests that the app's span makes."""
    origin, call = urlsplit(url), segment.span(number)
    assert (call.parent, call.type, call.layer, call.component) == (1, "Exit", "Http", REQUESTS)
    assert (call.operation, call.peer) == (origin.path, origin.netloc)
    assert call.tags == (("http.method", "GET"), ("http.url", url), ("http.status_code", str(status)))
    assert call.error == (status >= 400)
    assert (call.logs, call.refs) == ((), ())
    app = segment.span(1)
    assert app.start_ms <= call.start_ms <= call.end_ms <= app.end_ms


def sw8_of(segment: Segment, number: int) -> bytes:
    """What the call of a span carries, in a request that came without sw8."""
    call = segment.span(number)
    texts = [segment.trace, segment.id, segment.service, segment.instance, segment.entry.operation, call.peer]
    trace, own, *rest = (base64.b64encode(text.encode()).decode() for text in texts)
    return "-".join(["1", trace, own, str(number), *rest]).encode()
