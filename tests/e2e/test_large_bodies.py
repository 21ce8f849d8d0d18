# SPDX-License-Identifier: Apache-2.0
"""Bodies of a gigabyte, both ways: the proxy's own memory stays small, whatever the client's speed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable

import pytest

from harness import Gunicorn, Skystitch, Stage, free_port
from harness.skystitch import instrumented

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]

GIB = 1 << 30
OWN_KIB_MAX = 64 << 10


class Watch:
    """The most memory of its own that a proxy has while something runs, in KiB."""

    def __init__(self, proxy: Skystitch) -> None:
        self.most = 0
        self._proxy = proxy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def during(self, run: Callable[[], None]) -> int:
        self._thread.start()
        try:
            run()
        finally:
            self._over.set()
            self._thread.join()
        return self.most

    def _look(self) -> None:
        while True:
            self.most = max(self.most, self._proxy.memory_kb())
            if self._over.wait(0.02):
                return


def check(proxy: Skystitch, most: int) -> None:
    """Sanitizers keep what is freed: nothing is measured there."""
    assert most < OWN_KIB_MAX or instrumented(proxy.binary)


@pytest.fixture
def proxy(stage: Stage) -> Skystitch:
    app = Gunicorn(stage, "flask_app:app", worker_class="gthread", options=["--timeout", "120"])
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "h2c": True}]
    return Skystitch(stage, app.address, port=port, config={"listen": listen, "limits": {"body": "2GiB"}})


@pytest.mark.parametrize("framing", ["length", "chunked", "http2"])
def test_an_upload(proxy: Skystitch, stage: Stage, framing: str) -> None:
    file = stage.path("gigabyte")
    with file.open("wb") as sparse:
        sparse.truncate(GIB)
    command = ["curl", "--silent", "--fail", "--max-time", "200", "--request", "POST", "--upload-file", str(file)]
    if framing == "chunked":
        command += ["--header", "Transfer-Encoding: chunked"]
    elif framing == "http2":
        command += ["--http2-prior-knowledge"]
    answers: list[bytes] = []

    def upload() -> None:
        answers.append(subprocess.run([*command, f"{proxy.url}/upload"], check=True, capture_output=True).stdout)

    most = Watch(proxy).during(upload)
    assert json.loads(answers[0])["size"] == GIB
    check(proxy, most)


def test_a_download_to_a_slow_client(proxy: Skystitch) -> None:
    """It stops reading after the head, until the app can write no more; then it reads all."""
    received = 0

    def download() -> None:
        nonlocal received
        with proxy.raw(receive_buffer=64 << 10, timeout=120) as client:
            client.send(f"GET /download/{GIB}?length=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = client.head()
            threading.Event().wait(2)  # the time is what is tested: a client that is slow to begin
            while part := answer.read(1 << 20):
                received += len(part)

    most = Watch(proxy).during(download)
    assert received == GIB
    check(proxy, most)
