# SPDX-License-Identifier: Apache-2.0
"""Files that the proxy serves itself, from a folder, without the app."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Origin, Skystitch, Stage, until

MIB = 1 << 20
CSS = b"body { color: teal }\n"
NOON = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@dataclass
class Files:
    folder: Path
    origin: Origin
    collector: Collector
    proxy: Skystitch

    def put(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (NOON, NOON))
        return path


@pytest.fixture(scope="module")
def files(module_stage: Stage) -> Files:
    folder = module_stage.path("static")
    routes: list[dict[str, Any]] = [
        {"path": "/", "upstream": "app"},
        {"path": "/static/", "static": str(folder), "cache_control": "max-age=60"},
        {
            "path": "/media/",
            "static": str(folder),
            "upstream": "app",
            "response_headers": {"set": {"X-From": "media"}},
        },
        {"path": "/none/", "static": str(folder / "missing")},
    ]
    origin = Origin(module_stage)
    collector = Collector(module_stage)
    proxy = Skystitch(module_stage, origin.address, collector=collector, config={"routes": routes})
    made = Files(folder, origin, collector, proxy)
    made.put("app.css", CSS)
    made.put("app.css.gz", gzip.compress(CSS))
    made.put("page.htm", b"<p>page")
    made.put("docs/index.html", b"<p>docs")
    made.put("empty.txt", b"")
    made.put(".env", b"secret")
    (folder.parent / "outside.txt").write_bytes(b"secret")
    (folder / "out.txt").symlink_to("../outside.txt")
    (folder / "same.css").symlink_to("app.css")
    return made


def test_a_file(files: Files) -> None:
    asked, answered = len(files.origin.exchanges), files.proxy.metric("skystitch_static_answers_total")
    answer = files.proxy.get("/static/app.css", headers={"Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, CSS)
    assert files.proxy.metric("skystitch_static_answers_total") == answered + 1
    assert answer.headers["Content-Type"] == "text/css"
    assert answer.headers["Content-Length"] == str(len(CSS))
    assert answer.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.headers["Cache-Control"] == "max-age=60"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["ETag"].startswith('"')
    assert "Content-Encoding" not in answer.headers
    assert len(files.origin.exchanges) == asked


def test_head(files: Files) -> None:
    answer = files.proxy.request("HEAD", "/static/app.css", headers={"Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CSS))


def test_the_compressed_form(files: Files) -> None:
    plain = files.proxy.get("/static/app.css", headers={"Accept-Encoding": "gzip;q=0, br"})
    packed = files.proxy.get("/static/app.css", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == "text/css"
    assert packed.content == plain.content == CSS
    assert int(packed.headers["Content-Length"]) == len(gzip.compress(CSS))
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_conditions(files: Files) -> None:
    first = files.proxy.get("/static/page.htm")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for fields in ({"If-None-Match": f'"x", W/{etag}'}, {"If-Modified-Since": modified}):
        answer = files.proxy.get("/static/page.htm", headers=fields)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "max-age=60"
        assert "Content-Type" not in answer.headers
    assert files.proxy.get("/static/page.htm", headers={"If-None-Match": '"x"'}).status_code == 200
    assert files.proxy.get("/static/page.htm", headers={"If-Match": '"x"'}).status_code == 412


def test_ranges(files: Files) -> None:
    data = os.urandom(3 * MIB + 17)
    files.put("big.bin", data)
    for field, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=100000-299999", 100000, 299999),
        ("bytes=-5", len(data) - 5, len(data) - 1),
        ("bytes=0-", 0, len(data) - 1),
    ):
        answer = files.proxy.get("/static/big.bin", headers={"Range": field})
        assert answer.status_code == 206, field
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
        assert answer.content == data[first : last + 1]
    beyond = files.proxy.get("/static/big.bin", headers={"Range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond.content) == (416, b"")
    assert beyond.headers["Content-Range"] == f"bytes */{len(data)}"
    assert files.proxy.get("/static/big.bin", headers={"Range": "bytes=0-1,5-6"}).content == data
    stale = files.proxy.get("/static/big.bin", headers={"Range": "bytes=0-1", "If-Range": '"x"'})
    assert stale.content == data


def test_an_empty_file_and_the_next_request(files: Files) -> None:
    with files.proxy.raw() as client:
        for path, body in (("empty.txt", b""), ("page.htm", b"<p>page"), ("empty.txt", b"")):
            client.send(f"GET /static/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer, got = client.response()
            assert (answer.status, got) == (200, body)


def test_directories(files: Files) -> None:
    answer = files.proxy.get("/static/docs/")
    assert (answer.content, answer.headers["Content-Type"]) == (b"<p>docs", "text/html")
    redirects = files.proxy.metric("skystitch_responses_total", **{"class": "3xx"})
    moved = files.proxy.get("/static/docs?a=b")
    assert (moved.status_code, moved.headers["Location"]) == (301, "/static/docs/?a=b")
    assert files.proxy.metric("skystitch_responses_total", **{"class": "3xx"}) == redirects + 1
    with files.proxy.raw() as client:
        client.send(b"GET //evil.test/../../static/docs HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        assert answer.status == 301
        assert answer.headers["Location"] == "/evil.test/../../static/docs/"
        client.send(b"GET /\\evil.test/../static/docs HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().headers["Location"] == "/evil.test/../static/docs/", "browsers read it as //"
    missed = files.proxy.metric("skystitch_failures_total", reason="no_file")
    assert files.proxy.get("/static/").status_code == 404
    assert files.proxy.metric("skystitch_failures_total", reason="no_file") == missed + 1


NEVER = [
    "/static/.env",
    "/static/%2eenv",
    "/static/docs/..%2f.env",
    "/static/../outside.txt",
    "/static/%2e%2e/outside.txt",
    "/static/..%2foutside.txt",
    "/static/docs/../../outside.txt",
    "/static//../outside.txt",
    "/static/out.txt",
    "/static/app.css%00.png",
    "/static//etc/passwd",
    "/static/app.css/",
    "/static/missing.css",
]


@pytest.mark.parametrize("target", NEVER)
def test_what_is_not_served(files: Files, target: str) -> None:
    with files.proxy.raw() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer, body = client.response()
        served_by_app = (answer.status, body) == (200, b"ok")
        assert served_by_app or answer.status == 404, target
        assert b"secret" not in body


def test_a_link_inside(files: Files) -> None:
    assert files.proxy.get("/static/same.css").content == CSS


def test_other_methods(files: Files) -> None:
    refused = files.proxy.metric("skystitch_failures_total", reason="file_method")
    answer = files.proxy.request("POST", "/static/app.css", data=b"x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert files.proxy.metric("skystitch_failures_total", reason="file_method") == refused + 1
    assert files.proxy.request("POST", "/media/app.css", data=b"x").text == "ok"
    assert files.origin.exchanges[-1].request_line == b"POST /media/app.css HTTP/1.1"


def test_the_file_then_the_app(files: Files) -> None:
    answer = files.proxy.get("/media/page.htm")
    assert (answer.content, answer.headers["X-From"]) == (b"<p>page", "media")
    for path in ("/media/made/by/app", "/media/docs", "/media/.env"):
        answer = files.proxy.get(path)
        assert (answer.text, answer.headers["X-From"]) == ("ok", "media"), path
        assert files.origin.exchanges[-1].request_line == f"GET {path} HTTP/1.1".encode()


def test_traces_follow_the_rules(files: Files) -> None:
    files.put("rules.css", CSS)
    files.put("rules.htm", b"<p>rules")
    files.proxy.get("/static/rules.css")
    files.proxy.get("/static/rules.htm")
    segment = files.collector.one(lambda segment: segment.path().startswith("/static/rules."))
    assert segment.path() == "/static/rules.htm"
    assert segment.entry.tag("http.status_code") == "200"
    files.proxy.get("/static/none.htm")
    missing = files.collector.one(lambda segment: segment.path() == "/static/none.htm")
    assert missing.entry.tag("http.status_code") == "404"


def test_a_folder_that_is_missing_and_comes(files: Files) -> None:
    assert files.proxy.get("/none/a.txt").status_code == 500
    until(lambda: "static" in files.proxy.log() and "No such file" in files.proxy.log(), "the reason in the log")
    assert files.proxy.metric("skystitch_failures_total", reason="file_broken") == 1
    files.put("missing/a.txt", b"here")
    assert files.proxy.get("/none/a.txt").content == b"here"
    (files.folder / "missing").rename(files.folder / "old")
    files.put("missing/a.txt", b"new")
    assert files.proxy.get("/none/a.txt").content == b"new"
