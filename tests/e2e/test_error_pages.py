# SPDX-License-Identifier: Apache-2.0
"""Pages of the user's own for errors of the proxy, and of the app where that is wanted."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from hyperframe.frame import WindowUpdateFrame

from harness import Collector, Exchange, FrameClient, Origin, Skystitch, Stage, free_port, until
from harness.http2 import get
from harness.skystitch import run

NOTHING_LISTENS = "unix:/nonexistent/app.sock"


def page(stage: Stage, name: str, text: str) -> str:
    path: Path = stage.path(name)
    path.write_text(text)
    return str(path)


def test_errors_of_the_proxy(stage: Stage) -> None:
    general = page(stage, "50x.html", "<p>We are sorry.</p>")
    special = page(stage, "api.json", '{"error": "down"}')
    config = {
        "error_pages": [f"5xx={general}", f"404={page(stage, '404.txt', 'nothing here')}"],
        "routes": [
            {"path": "/api/", "upstream": "app", "error_pages": [f"502={special}"]},
            {"path": "/web/", "upstream": "app"},
        ],
    }
    proxy = Skystitch(stage, NOTHING_LISTENS, config=config)
    web = proxy.get("/web/")
    assert (web.status_code, web.text) == (502, "<p>We are sorry.</p>")
    assert web.headers["Content-Type"] == "text/html; charset=utf-8"
    assert web.headers["Cache-Control"] == "no-store"
    api = proxy.get("/api/", headers={"Accept": "text/html"})
    assert (api.status_code, api.json()) == (502, {"error": "down"})
    none = proxy.get("/other")
    assert (none.status_code, none.text) == (404, "nothing here")
    head = proxy.request("HEAD", "/web/")
    assert (head.headers["Content-Length"], head.content) == (str(len(web.content)), b"")


def test_errors_of_the_app(stage: Stage) -> None:
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nETag: x\r\nContent-Encoding: x\r\nContent-Length: 4\r\n\r\noops"
    sorry = page(stage, "503.html", "sorry")
    config = {
        "error_pages": [f"503={sorry}"],
        "routes": [
            {"path": "/on/", "upstream": "app", "intercept_errors": "on"},
            {"path": "/", "upstream": "app"},
        ],
    }
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage, answer).address, collector=collector, config=config)
    assert proxy.get("/").text == "oops"
    collector.wait(1)
    collector.clear()
    replaced = proxy.get("/on/")
    assert (replaced.status_code, replaced.text, replaced.headers["Retry-After"]) == (503, "sorry", "7")
    assert not {"ETag", "Content-Encoding"} & set(replaced.headers)
    assert collector.one().entry.tag("http.status_code") == "503"


def test_a_file_that_is_not_there(stage: Stage) -> None:
    config = stage.path("bad.yaml")
    config.write_text('upstreams: {app: {servers: ["a:1"]}}\nerror_pages: ["502=/nonexistent/502.html"]\n')
    done = run("--check", "--config", str(config))
    assert done.returncode == 2
    assert '502=/nonexistent/502.html" names a file that is not there' in done.stderr


def test_a_page_outlives_its_configuration(stage: Stage) -> None:
    """It waits for the client's window while reloads take its place."""
    go = threading.Event()
    path = page(stage, "502.txt", "sorry " * 1000)

    def give_up(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.close()

    origin, port = Origin(stage, give_up), free_port()
    listen = [{"address": f"127.0.0.1:{port}", "h2c": True}]
    proxy = Skystitch(stage, origin.address, port=port, config={"error_pages": [f"502={path}"], "listen": listen})

    def reload() -> None:
        done = proxy.metric("skystitch_reloads_total", result="done")
        proxy.signal(signal.SIGHUP)
        until(lambda: proxy.metric("skystitch_reloads_total", result="done") > done, "the reload")

    with FrameClient(port, window=0) as client:
        client.send(client.head(1, get(method="POST")))
        until(lambda: origin.exchanges, "the app has the request")
        reload()
        go.set()
        client.until(lambda: 1 in client.answers and client.answers[1].heads, "the head of the page")
        reload()
        client.send(WindowUpdateFrame(1, window_increment=65535))
        assert client.answer(1).body == b"sorry " * 1000
