# SPDX-License-Identifier: Apache-2.0
"""A stitched trace as a tree of spans, over all its services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import Segment, Span

COMPONENTS = {49: "http", 7001: "Flask", 7002: "Requests", 7004: "Django", 7006: "Urllib3"}


def _children(segments: Sequence[Segment], segment: Segment, parent: Span) -> list[tuple[Segment, Span]]:
    """The span's children in its own segment, then the entries of other services that refer to it."""
    own = [(segment, span) for span in segment.spans if span.parent == parent.id]
    called = [
        (other, span)
        for other in segments
        for span in other.spans
        if any(ref.segment == segment.id and ref.span == parent.id for ref in span.refs)
    ]
    return sorted(own, key=lambda pair: pair[1].id) + called


def _line(segment: Segment, span: Span) -> str:
    parts = [f"{span.type.lower():5} {span.operation}"]
    if span.type == "Entry":
        parts.append(f"({segment.service})")
    if span.type == "Exit":
        parts.append(f"-> {span.peer}")
    if span.tag("http.status_code"):
        parts.append(span.tag("http.status_code") or "")
    parts.append(f"{span.end_ms - span.start_ms} ms")
    if span.component:
        parts.append(f"[{COMPONENTS.get(span.component, span.component)}]")
    if span.error:
        parts.append("ERROR")
    return "  ".join(parts)


def _logs(span: Span) -> Iterator[str]:
    for log in span.logs:
        stack = log.data.get("stack", "").rstrip().splitlines()
        yield f"! {log.data.get('error.kind', '')}: {log.data.get('message', '')}"
        yield from (f"!   {line}" for line in stack[-3:])


def _lines(segments: Sequence[Segment], segment: Segment, span: Span, lead: str) -> Iterator[str]:
    children = _children(segments, segment, span)
    for text in _logs(span):
        yield f"{lead}{'│ ' if children else '  '} {text}"
    for number, (owner, child) in enumerate(children, 1):
        last = number == len(children)
        yield f"{lead}{'└─' if last else '├─'} {_line(owner, child)}"
        yield from _lines(segments, owner, child, lead + ("   " if last else "│  "))


def tree(segments: Sequence[Segment]) -> str:
    """The trace's lines; spans whose parent is in no segment stand at the left margin."""
    known = {(segment.id, span.id) for segment in segments for span in segment.spans}
    lines = [f"trace {segments[0].trace}"]
    for segment in sorted(segments, key=lambda segment: segment.entry.start_ms):
        entry = segment.entry
        if not any((ref.segment, ref.span) in known for ref in entry.refs):
            lines += [_line(segment, entry), *_lines(segments, segment, entry, "")]
    return "\n".join(lines)
