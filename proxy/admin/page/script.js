// Draws one trace of /api/traces/ID: a row a span, nested as they called each other. Names come from
// clients and apps, so every text goes in as text, never as markup.
"use strict";

const COMPONENTS = {
  49: "HTTP", 7001: "Flask", 7002: "Requests", 7004: "Django", 7003: "PyMySQL", 7006: "urllib3",
};

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// The spans of all segments, each with its children: those of its segment, and the entry spans of
// the segments that name it in a reference. A span whose parent is not here is a root.
function grow(segments) {
  const byKey = new Map();
  const spans = segments.flatMap((segment) => segment.spans.map((span) => ({
    ...span, service: segment.service, instance: segment.serviceInstance,
    key: `${segment.traceSegmentId} ${span.spanId}`,
    parents: span.parentSpanId >= 0
      ? [`${segment.traceSegmentId} ${span.parentSpanId}`]
      : span.refs.map((ref) => `${ref.parentTraceSegmentId} ${ref.parentSpanId}`),
    children: [],
  })));
  for (const span of spans) byKey.set(span.key, span);
  const roots = [];
  for (const span of spans) {
    const parent = span.parents.map((key) => byKey.get(key)).find((found) => found);
    (parent ? parent.children : roots).push(span);
  }
  for (const list of [roots, ...spans.map((span) => span.children)])
    list.sort((a, b) => a.startTime - b.startTime);
  return roots;
}

function hueOf(service) {
  let hash = 0;
  for (const unit of service) hash = (hash * 31 + unit.codePointAt(0)) % 360;
  return (hash * 137) % 360; // near hashes, far hues
}

function row(name, value) {
  return element("tr", "", element("th", "", name), element("td", "", value));
}

function detailsOf(span) {
  const facts = element("table", "", row("service", `${span.service} (${span.instance})`),
    row("span", `${span.spanType}, ${COMPONENTS[span.componentId] || `component ${span.componentId}`}`));
  if (span.peer) facts.append(row("peer", span.peer));
  for (const tag of span.tags) facts.append(row(tag.key, tag.value));
  const more = element("div", "more", facts);
  for (const log of span.logs) {
    const data = Object.fromEntries(log.data.map((item) => [item.key, item.value]));
    const { stack, ...rest } = data;
    const table = element("table", "", ...Object.entries(rest).map(([key, value]) => row(key, value)));
    more.append(table);
    if (stack) more.append(element("pre", "", stack));
  }
  return more;
}

function draw(span, depth, start, whole) {
  const bar = element("div", span.isError ? "bar failed" : "bar");
  bar.style.left = `${(span.startTime - start) / whole * 100}%`;
  bar.style.width = `${(span.endTime - span.startTime) / whole * 100}%`;
  bar.style.background = `hsl(${hueOf(span.service)} 60% 50%)`;
  const name = element("div", span.isError ? "name e" : "name", span.operationName, " ",
    element("small", "", span.spanType === "Exit" ? `to ${span.peer}` : span.service));
  name.style.paddingLeft = `${depth * 1.2}rem`;
  name.title = span.operationName;
  const summary = element("summary", "", name, element("div", "lane", bar),
    element("div", "time", `${span.endTime - span.startTime} ms`));
  const shown = element("details", "", summary, detailsOf(span));
  shown.open = span.logs.length > 0;
  shown.setAttribute("role", "treeitem");
  shown.setAttribute("aria-level", depth + 1);
  document.getElementById("spans").append(shown);
  for (const child of span.children) draw(child, depth + 1, start, whole);
}

function show(trace) {
  const roots = grow(trace.segments);
  const spans = trace.segments.flatMap((segment) => segment.spans);
  const start = spans.reduce((least, span) => Math.min(least, span.startTime), Infinity);
  const end = spans.reduce((most, span) => Math.max(most, span.endTime), 0);
  document.getElementById("title").textContent = roots[0].operationName;
  document.title = `${roots[0].operationName} - skystitch`;
  const json = element("a", "", "JSON");
  json.href = `/api/traces/${encodeURIComponent(trace.traceId)}`;
  document.getElementById("about").replaceChildren(
    `${new Date(start).toLocaleString()}, ${end - start} ms, ${spans.length} spans, trace `,
    element("span", "id", trace.traceId), " ", json);
  for (const root of roots) draw(root, 0, start, Math.max(end - start, 1));
}

async function main() {
  const id = location.pathname.slice("/traces/".length);
  const answer = await fetch(`/api/traces/${id}`);
  if (!answer.ok) {
    document.getElementById("about").textContent = await answer.text();
    return;
  }
  show(await answer.json());
}

main();
