# SPDX-License-Identifier: Apache-2.0
"""httpbin, as it is on PyPI, answers the same with and without the proxy in front of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from harness import Gunicorn, Skystitch, Stage

pytestmark = pytest.mark.matrix

PACKAGES = ["httpbin==0.10.4", "gunicorn==27.0.1"]

#: What a request bears more behind the proxy: docs/reference.md.
ADDED = {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip", "Sw8"}
#: Of this connection, not of the answer.
OF_THE_CONNECTION = {"connection", "date", "keep-alive", "transfer-encoding"}

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/get?a=1&b=%20%2F&a=2", {}),
    ("HEAD", "/get", {}),
    ("OPTIONS", "/get", {}),
    ("POST", "/post", {"data": {"a": ["1", "2"], "b": "ü"}}),
    ("POST", "/post", {"json": {"a": [1, None]}}),
    ("POST", "/post", {"files": {"f": ("a.txt", b"\x00\xff\r\n" * 5000)}}),
    ("POST", "/post", {"data": iter([b"chunk", b"ed"])}),
    ("PUT", "/put", {"data": b"x" * 300_000}),
    ("PATCH", "/patch", {"data": b""}),
    ("DELETE", "/delete", {}),
    ("GET", "/anything/a/b%2Fc?d=e", {}),
    ("TRACE", "/anything", {}),
    ("GET", "/headers", {"headers": {"X-Latin": "a\xe4".encode("latin-1"), "X-Empty": ""}}),
    ("GET", "/user-agent", {}),
    ("GET", "/gzip", {}),
    ("GET", "/deflate", {}),
    ("GET", "/encoding/utf8", {}),
    ("GET", "/html", {}),
    ("GET", "/xml", {}),
    ("GET", "/json", {}),
    ("GET", "/robots.txt", {}),
    ("GET", "/deny", {}),
    ("GET", "/image/png", {}),
    ("GET", "/image/svg", {}),
    ("GET", "/bytes/10000?seed=1", {}),
    ("GET", "/stream-bytes/50000?seed=1&chunk_size=777", {}),
    ("GET", "/stream/20", {}),
    ("GET", "/drip?numbytes=5&duration=1&delay=0", {}),
    ("GET", "/delay/1", {}),
    ("GET", "/range/1000", {"headers": {"Range": "bytes=10-19"}}),
    ("GET", "/range/1000", {"headers": {"Range": "bytes=2000-"}}),
    ("GET", "/links/3/1", {}),
    ("GET", "/base64/c2t5c3RpdGNo", {}),
    ("GET", "/cookies", {"headers": {"Cookie": "a=1; b=2"}}),
    ("GET", "/cookies/set?a=1&b=2", {"allow_redirects": False}),
    ("GET", "/cookies/delete?a=", {"allow_redirects": False}),
    ("GET", "/redirect-to?url=/get&status_code=307", {"allow_redirects": False}),
    ("GET", "/relative-redirect/2", {"allow_redirects": False}),
    ("GET", "/response-headers?X-A=1&X-A=2&Content-Type=text/x", {}),
    ("GET", "/cache", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/cache/60", {}),
    ("GET", "/etag/abc", {"headers": {"If-None-Match": "abc"}}),
    ("GET", "/etag/abc", {"headers": {"If-Match": "other"}}),
    ("GET", "/basic-auth/u/p", {}),
    ("GET", "/basic-auth/u/p", {"auth": ("u", "p")}),
    ("GET", "/hidden-basic-auth/u/p", {}),
    ("GET", "/bearer", {"headers": {"Authorization": "Bearer t"}}),
    ("GET", "/no-such-page", {}),
    ("POST", "/get", {}),
    *(("GET", f"/status/{status}", {"allow_redirects": False}) for status in (200, 204, 304, 400, 418, 500, 503)),
]


class Sides:
    def __init__(self, stage: Stage, python: Path) -> None:
        self.app = Gunicorn(
            stage,
            "httpbin_app:app",
            worker_class="gthread",
            tcp=True,
            launcher=[str(python), "-m"],
            env={"APP_AGENT": "none"},
        )
        self.proxy = Skystitch(stage, self.app.address)

    def both(self, method: str, path: str, options: dict[str, Any]) -> list[requests.Response]:
        """The same request to the app itself and through the proxy, under one Host."""
        found = []
        for port in (self.app.port, self.proxy.port):
            sent = {**options, "headers": {"Host": "bin.test", **options.get("headers", {})}}
            if method == "POST" and not isinstance(options.get("data", b""), (dict, bytes)):
                sent["data"] = iter([b"chunk", b"ed"])
            if "files" in options:  # the boundary is drawn for each request
                made = requests.Request("POST", "http://bin.test", files=options["files"]).prepare()
                del sent["files"]
                sent["data"] = made.body.replace(made.headers["Content-Type"].split("=")[1].encode(), b"BOUNDARY")
                sent["headers"]["Content-Type"] = "multipart/form-data; boundary=BOUNDARY"
            found.append(requests.request(method, f"http://127.0.0.1:{port}{path}", timeout=30, **sent))
        return found


@pytest.fixture(scope="module")
def sides(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """httpbin in an environment of its own: it brings much that no other test needs."""
    folder = tmp_path_factory.mktemp("httpbin")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, timeout=300)
    return Sides(module_stage, python)


def without_additions(body: bytes) -> Any:
    """What httpbin tells of the request, without what the proxy adds to it."""
    try:
        lines = [json.loads(line) for line in body.splitlines()] if b"\n{" in body else [json.loads(body)]
    except ValueError:
        return body
    for told in lines:
        if not isinstance(told, dict):
            continue
        told.pop("origin", None)
        headers = told.get("headers", {})
        # A body comes with its length whatever it came with; the connection is the proxy's own.
        for name in list(headers):
            of_hop = name in ("Connection", "Content-Length", "Transfer-Encoding")
            if of_hop or name.title() in ADDED or name.lower().startswith("sw8"):
                del headers[name]
    return lines


def kept(answer: requests.Response) -> list[tuple[str, str]]:
    fields = answer.raw.headers.items()
    return sorted((k.lower(), v) for k, v in fields if k.lower() not in OF_THE_CONNECTION)


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS, ids=[f"{m} {p}" for m, p, _ in REQUESTS])
def test_the_same_answer(sides: Sides, method: str, path: str, options: dict[str, Any]) -> None:
    direct, through = sides.both(method, path, options)
    assert through.status_code == direct.status_code
    assert through.reason == direct.reason
    names = {name for name, _ in kept(direct)}
    if b'"headers"' in direct.content or method == "HEAD":  # as long as what is added to the request
        names.discard("content-length")
    assert [f for f in kept(through) if f[0] in names] == [f for f in kept(direct) if f[0] in names]
    assert not {name for name, _ in kept(through)} - {name for name, _ in kept(direct)}
    assert without_additions(through.content) == without_additions(direct.content)
