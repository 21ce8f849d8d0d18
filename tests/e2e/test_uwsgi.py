# SPDX-License-Identifier: Apache-2.0
"""The uwsgi protocol, spoken to a real uWSGI."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import test_django
import test_flask
from expect import DJANGO, FLASK, check, check_log
from harness import Collector, Gunicorn, Pki, Skystitch, Stage, Uwsgi, until


class UwsgiSite:
    """As Site, with uWSGI in gunicorn's place."""

    def __init__(self, stage: Stage, app: str, *, config: dict[str, Any] | None = None, **uwsgi: Any) -> None:
        self.collector = Collector(stage)
        self.app = Uwsgi(stage, app, **uwsgi)
        self.proxy = Skystitch(stage, self.app.address, collector=self.collector, config=config)


@pytest.mark.parametrize(
    ("app", "component", "situations", "kind"),
    [
        ("flask_app:app", FLASK, test_flask.SITUATIONS, {"processes": 2, "threads": 2}),
        pytest.param(
            *("flask_app:app", FLASK, test_flask.SITUATIONS, {"tcp": True, "options": ["--lazy-apps"]}),
            marks=pytest.mark.matrix,
        ),
        ("django_app:application", DJANGO, test_django.SITUATIONS, {"processes": 2, "options": ["--lazy-apps"]}),
    ],
    ids=["flask-processes-threads", "flask-lazy-tcp", "django-lazy-processes"],
)
def test_situations(stage: Stage, app: str, component: int, situations: Any, kind: dict[str, Any]) -> None:
    """What the helper says becomes part of the segment as it does with gunicorn."""
    site = UwsgiSite(stage, app, **kind)
    for method, path, expected in situations.values():
        if path == "/teardown-broken":
            continue  # uWSGI has sent the head of a 200 by then
        site.collector.clear()
        response = site.proxy.request(method, path)
        segment = site.collector.one()
        assert response.status_code == expected.status, (method, path)
        check(site, segment, method, path, component, expected)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bare(module_stage: Stage) -> Iterator[tuple[Skystitch, Skystitch]]:
    """One app by uwsgi and by HTTP."""
    uwsgi = Uwsgi(module_stage, "environ_app:app", options=["--buffer-size", "65535"])
    gunicorn = Gunicorn(module_stage, "environ_app:app")
    return (
        Skystitch(module_stage, uwsgi.address, name="by-uwsgi"),
        Skystitch(module_stage, gunicorn.address, name="by-http"),
    )


REQUESTS = {
    "plain": b"GET / HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n",
    "query": b"GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty query": b"GET /a? HTTP/1.1\r\nHost: a\r\n\r\n",
    "escapes": b"GET /%C3%A4%2Fb%3Fc/%zz%4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "fields": b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-two-three: b: c\r\nX-Empty:\r\nAccept: */*\r\n\r\n",
    "latin-1": b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: \xe4\xc3\xa4\r\n\r\n",
    "post": b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello",
    "empty post": b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "1.0": b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "odd escapes": b"GET /%00%0d%0a%25%ff%/%2?%00=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "odd path": b"GET //a//../b/./;c=d?e?f HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute": b"GET http://a.example/b?c HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "odd method": b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "odd names": b"GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+.^`|~0: 1\r\nX--: 2\r\n-: 3\r\nHttp-Host: 4\r\n\r\n",
    "odd values": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \t b\tc: d \r\nX-B:: \r\nX-C: \x80\xff\r\n\r\n",
    "odd body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 256\r\n\r\n" + bytes(range(256)),
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d:\r\n" % i for i in range(85)) + b"\r\n",
    "long": b"GET /" + b"p" * 3000 + b" HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 6000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
def test_the_app_is_told_the_same(bare: tuple[Skystitch, Skystitch], request_bytes: bytes) -> None:
    told = []
    for proxy in bare:
        with proxy.raw() as client:
            client.send(request_bytes)
            answer = client.head()
            told.append(json.loads(answer.read()))
    by_uwsgi, by_http = told
    assert by_uwsgi["REMOTE_ADDR"] == "127.0.0.1"
    assert int(by_uwsgi["REMOTE_PORT"]) > 0
    assert int(by_uwsgi["SERVER_PORT"]) == bare[0].port
    assert by_uwsgi["SERVER_NAME"] == by_uwsgi["HTTP_HOST"].partition(":")[0]
    shared = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "url_scheme", "body")
    fields = {name for name in [*by_uwsgi, *by_http] if name.startswith("HTTP_")} - {"HTTP_SW8", "HTTP_SW8_STITCH"}
    for name in [*shared, *fields]:
        assert by_uwsgi.get(name) == by_http.get(name), name
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH", "SCRIPT_NAME"):
        assert by_uwsgi.get(name, "") == by_http.get(name, ""), name


def test_fields_of_one_name_are_one_list(bare: tuple[Skystitch, Skystitch]) -> None:
    with bare[0].raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: a=1\r\nX-B: 2\r\nx-a: 3\r\nCookie: b=2\r\n\r\n")
        told = json.loads(client.head().read())
    assert (told["HTTP_X_A"], told["HTTP_X_B"], told["HTTP_COOKIE"]) == ("1, 3", "2", "a=1; b=2")


def test_bodies_both_ways(stage: Stage) -> None:
    site = UwsgiSite(stage, "flask_app:app", threads=2, processes=2)
    body = bytes(range(256)) * 20000
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: site.proxy.request("POST", "/upload", data=body), range(4)):
            assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
        for answer in pool.map(lambda _: site.proxy.get("/download/3000000"), range(4)):
            assert len(answer.content) == 3000000
    assert site.proxy.metric("skystitch_failures_total") == 0
    assert site.proxy.metric("skystitch_upstream_connections_total") == 8  # one for each request


def test_https_is_told(stage: Stage) -> None:
    pki, app = Pki(stage.directory), Uwsgi(stage, "environ_app:app")
    pair = pki.sign("server", "IP:127.0.0.1")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    proxy = Skystitch(stage, app.address, start=False)
    config = json.loads(proxy.config_path.read_text())
    config["listen"][0]["tls"] = tls
    proxy.config_path.write_text(json.dumps(config))
    proxy.start()
    answer = proxy.session.get(f"https://127.0.0.1:{proxy.port}/", verify=str(pki.authority.certificate), timeout=10)
    assert answer.json()["url_scheme"] == "https"
    assert answer.json()["HTTPS"] == "on"


def test_a_head_above_buffer_size_is_explained(stage: Stage) -> None:
    site = UwsgiSite(stage, "environ_app:app")
    assert site.proxy.get("/", headers={"X-Long": "x" * 2000}).status_code == 200
    response = site.proxy.get("/", headers={"X-Long": "x" * 5000})
    assert response.status_code == 502
    assert "--buffer-size 16384" in response.text
    assert site.proxy.metric("skystitch_failures_total", reason="uwsgi_buffer") == 1
    assert site.collector.wait(2)[1].entry.tag("failure") == "closed by uWSGI: buffer-size"


def test_a_head_above_what_a_packet_holds_is_refused(stage: Stage) -> None:
    site = UwsgiSite(stage, "environ_app:app", config={"limits": {"header": "128KiB"}})
    headers = {f"X-Long-{i}": "x" * 8000 for i in range(9)}
    assert site.proxy.get("/", headers=headers).status_code == 431
    assert site.proxy.metric("skystitch_failures_total", reason="head_too_large") == 1
    assert site.proxy.get("/").status_code == 200


def test_a_killed_process_is_a_502(stage: Stage) -> None:
    site = UwsgiSite(stage, "flask_app:app")
    worker = int(site.proxy.get("/pid").text)
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(site.proxy.get, "/sleep/20000")
        until(lambda: "asleep for 20000 ms" in site.app.log(), "the worker is in the view")
        os.kill(worker, signal.SIGKILL)
        assert sleeping.result().status_code == 502
    until(lambda: site.proxy.get("/").status_code == 200, "uWSGI has a new worker")


def test_a_stream_that_breaks(stage: Stage) -> None:
    """uWSGI closes the connection as if the answer were whole: only the app's part tells."""
    site = UwsgiSite(stage, "flask_app:app")
    assert "part 0" in site.proxy.get("/stream-broken").text
    segment = site.collector.one()
    assert segment.entry.error
    assert segment.entry.tag("failure") == "answer cut short"
    check_log(segment.span(1), "RuntimeError")
    assert site.proxy.metric("skystitch_failures_total", reason="cut") == 1
    site.collector.clear()
    assert site.proxy.get("/stream").status_code == 200
    assert not site.collector.one().entry.error
