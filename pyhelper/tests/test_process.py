# SPDX-License-Identifier: Apache-2.0
"""Forks, threads and greenlets: each request has its own recording, each process its connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from conftest import SEGMENT, Client, b64, environ, serve, sw8

flask = pytest.importorskip("flask")


def segment(number: int) -> str:
    return f"{number:032x}"


def request(client: Client, number: int) -> dict[str, str]:
    """The proxy's headers for a segment of its own."""
    return {**client.traced(), "sw8": sw8().replace(b64(SEGMENT), b64(segment(number)))}


@pytest.fixture
def app() -> Any:
    made = flask.Flask("shop")
    made.logger.disabled = True

    @made.route("/boom/<int:number>")
    def boom(number: int) -> str:
        raise ValueError(f"number {number}")

    return made


def told(messages: list[dict[str, Any]]) -> dict[str, str]:
    """What the messages say of each segment's exception."""
    return {
        message["segment"]: dict(message["spans"][0]["logs"][0]["data"])["message"]
        for message in messages
    }


def test_threads(app: Any, client: Client) -> None:
    gate = threading.Barrier(8)

    def work(first: int) -> None:
        gate.wait(5)
        for number in range(first, first + 10):
            sent = request(client, number)
            assert serve(app, environ(f"/boom/{number}", headers=sent)).status.startswith("500")

    threads = [threading.Thread(target=work, args=(first * 10,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = client.proxy.read()
    assert told(messages) == {segment(number): f"number {number}" for number in range(80)}


def test_forks(app: Any, client: Client) -> None:
    """As a prefork server with the app loaded before the fork, after it has answered already."""
    serve(app, environ("/boom/0", headers=request(client, 0)))
    children = []
    for number in range(1, 4):
        pid = os.fork()
        if pid == 0:
            answer = serve(app, environ(f"/boom/{number}", headers=request(client, number)))
            os._exit(0 if answer.stitch and answer.stitch.split(";")[4] == "1" else 1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    serve(app, environ("/boom/4", headers=request(client, 4)))
    messages = client.proxy.read()
    assert told(messages) == {segment(number): f"number {number}" for number in range(5)}
    assert len(client.proxy.connections) == 4


GEVENT = """
from gevent import monkey
monkey.patch_all()
import json, socket, sys, time
import gevent, gevent.pywsgi, gevent.socket
import _socket

sys.path.insert(0, {tests!r})
from skystitch import agent
agent.start()
import flask, requests
from conftest import Client, Proxy, environ, serve, sw8
from skystitch.channel import losses

app = flask.Flask("shop")
origin = flask.Flask("origin")

@origin.route("/slow/<int:n>")
def slow(n):
    gevent.sleep(0.2)
    return flask.request.headers["sw8"].split("-")[3]

@app.route("/call/<int:n>")
def call(n):
    return requests.get(f"http://127.0.0.1:{{server.server_port}}/slow/{{n}}", timeout=5).text

server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), origin, log=None)
server.start()

class RawProxy(Proxy):
    def __init__(self):
        self.name = "skystitch-gevent-test-" + str(time.time_ns())
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.listener.bind("\\0" + self.name)
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.connections = []
    def accept(self):
        try:
            descriptor, _ = self.listener._accept()
        except BlockingIOError:
            return
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, fileno=descriptor)
        connection.setblocking(False)
        self.connections.append(connection)

proxy = RawProxy()
client = Client(proxy)
began = time.monotonic()
jobs = [
    gevent.spawn(lambda n=n: serve(app, environ(f"/call/{{n}}", headers=client.traced())))
    for n in range(10)
]
gevent.joinall(jobs)
messages = proxy.read()
print(json.dumps({{
    "statuses": sorted({{job.value.status for job in jobs}}),
    "bodies": sorted({{job.value.body.decode() for job in jobs}}),
    "more": sorted({{job.value.stitch.split(";")[4] for job in jobs}}),
    "messages": len(messages),
    "spans": sorted({{len(message["spans"]) for message in messages}}),
    "connections": len(proxy.connections),
    "lost": len(losses),
    "together": time.monotonic() - began < 1.5,
}}))
"""


def test_gevent() -> None:
    """Ten requests that wait at the same time in one thread, everything patched."""
    pytest.importorskip("gevent")
    pytest.importorskip("requests")
    code = textwrap.dedent(GEVENT).format(tests=os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "statuses": ["200 OK"],
        "bodies": ["2"],
        "more": ["1"],
        "messages": 10,
        "spans": [2],
        "connections": 1,
        "lost": 0,
        "together": True,
    }
