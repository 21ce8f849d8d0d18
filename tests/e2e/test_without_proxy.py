# SPDX-License-Identifier: Apache-2.0
"""The helper in an app that is reached around the proxy: nothing is added, nothing breaks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Gunicorn, Stage, until

SW8 = "1-dHJhY2UtMQ==-c2VnLTE=-3-c3Zj-aW5zdEBo-L2FwaQ==-MTAuMC4wLjI6ODA4MA=="
PATHS = ["/users/7", "/nope", "/handled", "/boom/x", "/stream", "/file"]


@pytest.fixture(scope="module")
def app(module_stage: Stage) -> Iterator[Gunicorn]:
    return Gunicorn(module_stage, "flask_app:app")


def ask(app: Gunicorn, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = app.connection()
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_answers_are_those_of_the_bare_app(stage: Stage, app: Gunicorn) -> None:
    bare = Gunicorn(stage, "flask_app:app", name="bare", env={"APP_AGENT": "none"})
    changing = {"date"}
    for path in PATHS:
        status, headers, body = ask(app, path)
        bare_status, bare_headers, bare_body = ask(bare, path)
        assert (status, body) == (bare_status, bare_body), path
        assert set(headers) == set(bare_headers), path
        for name in set(headers) - changing - {"last-modified", "etag", "content-disposition"}:
            assert headers[name] == bare_headers[name], path


def test_sw8_alone_asks_for_nothing(app: Gunicorn) -> None:
    _, headers, _ = ask(app, "/users/7", {"sw8": SW8})
    assert not [name for name in headers if name.startswith("sw8")]


def threads(app: Gunicorn) -> int:
    return len(list(Path(f"/proc/{app.worker_pids()[0]}/task").iterdir()))


def test_the_worker_has_no_more_threads_and_sockets(stage: Stage, app: Gunicorn) -> None:
    bare = Gunicorn(stage, "flask_app:app", name="bare2", env={"APP_AGENT": "none"})
    for each in (app, bare):
        ask(each, "/users/7")
    assert threads(app) == threads(bare)

    def sockets(each: Gunicorn) -> int:
        count = 0
        for link in Path(f"/proc/{each.worker_pids()[0]}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += "socket:" in str(link.readlink())
        return count

    # A worker closes its side a moment after the answer.
    until(lambda: sockets(app) == sockets(bare) == 1, "both hold their listener alone")


FORGED = {
    "unknown version": "9;@skystitch-x;1700000000000000;s",
    "garbage": "what?",
    "empty": "",
    "huge": "1;" + "a" * 4000,
    "no channel": "1;-;1700000000000000;s",
    "nobody's channel": "1;@skystitch-nobody;1700000000000000;s",
    "foreign name": "1;@evil;1700000000000000;s",
    "a file": "1;/etc/passwd;1700000000000000;s",
    "time to come": "1;-;99999999999999999999;s",
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_requests_do_no_harm(app: Gunicorn, kind: str) -> None:
    """Whoever reaches the app can say he was the proxy: the app works, at most route and times are told."""
    for path, status in (("/users/7", 200), ("/boom/x", 500)):
        got, headers, body = ask(app, path, {"sw8-stitch": FORGED[kind]})
        assert got == status
        told = headers.get("sw8-stitch", "")
        assert "no such word" not in told
        assert "sw8-stitch-data" not in headers
        if status == 200:
            assert json.loads(body) == {"id": 7}


STRANGER = """
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("\\0" + sys.argv[1])
listener.listen(8)
print("listens", flush=True)
sys.stdin.readline()
listener.setblocking(False)
try:
    while True:
        client, _ = listener.accept()
        print(client.recv(65536))
except BlockingIOError:
    pass
"""


def test_exceptions_are_not_told_to_a_stranger(app: Gunicorn) -> None:
    """A listener of the right name that is another user's: the helper looks who it is before it speaks."""
    if os.getuid() != 0:
        pytest.skip("needs root to be somebody else")
    name = f"skystitch-e2e-{os.getpid()}"
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", STRANGER, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=65534,
        group=65534,
        cwd="/",
    ) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "listens\n"
        status, _, _ = ask(app, "/boom/x", {"sw8-stitch": f"1;@{name};{time.time_ns() // 1000};s", "sw8": SW8})
        told, _ = stranger.communicate("\n", timeout=10)
    assert status == 500
    assert "no such word" not in told
