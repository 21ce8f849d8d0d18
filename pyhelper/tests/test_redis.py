# SPDX-License-Identifier: Apache-2.0
"""redis-py against a server of a few lines: what spans of commands and pipelines say."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from calls import expected  # noqa: E402
from conftest import log, timeless  # noqa: E402


class Server(socketserver.ThreadingTCPServer):
    """Answers each command +OK, but for FAIL: an error."""

    daemon_threads = True
    allow_reuse_address = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2])
                failed = words[0].upper() in (b"FAIL", b"HELLO")
                self.wfile.write(b"-ERR no\r\n" if failed else b"+OK\r\n")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.port = self.server_address[1]
        self.peer = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.shutdown()
    made.server_close()


def command(server: Server, name: str, key: str, operation: str, **extra: Any) -> dict[str, Any]:
    return {
        "id": extra.pop("id", 2),
        "parent": 1,
        "type": "exit",
        "layer": "cache",
        "component": 7,
        "operation": f"Redis/{extra.pop('called', name)}",
        "peer": server.peer,
        "tags": [
            ["cache.type", "Redis"],
            ["cache.key", key],
            ["cache.cmd", name],
            ["cache.op", operation],
        ],
        **extra,
    }


def client(server: Server) -> Any:
    return redis.Redis("127.0.0.1", server.port, protocol=2)


def test_commands(run: Any, server: Server) -> None:
    def call() -> None:
        with client(server) as connection:
            connection.set("user:7", "a secret value")
            connection.get(b"user:8")
            connection.execute_command("AUTH", "password")
            connection.execute_command("eval", "return 'password'", 0)

    answer = run(call)
    assert timeless(answer.message) == expected(
        command(server, "SET", "user:7", "write"),
        command(server, "GET", "user:8", "read", id=3),
        command(server, "AUTH", "", "", id=4),
        command(server, "EVAL", "", "", id=5),
    )


def test_async(run: Any, server: Server) -> None:
    from redis import asyncio as redis_asyncio

    async def call() -> None:
        connection = redis_asyncio.Redis(host="127.0.0.1", port=server.port, protocol=2)
        await connection.set("a", 1)
        async with connection.pipeline(transaction=False) as pipeline:
            await pipeline.get("a").get("b").execute()
        await connection.aclose()

    answer = run(lambda: asyncio.run(call()))
    assert timeless(answer.message) == expected(
        command(server, "SET", "a", "write"),
        command(server, "GET GET", "", "read", called="PIPELINE", id=3),
    )


def test_pipeline(run: Any, server: Server) -> None:
    def call() -> None:
        with client(server) as connection, connection.pipeline(transaction=False) as pipeline:
            pipeline.execute()  # nothing in it
            for number in range(12):
                pipeline.set("k", number)
            pipeline.get("k").execute()

    answer = run(call)
    names = " ".join(["SET"] * 10 + ["..."])
    span = command(server, names, "", "write", called="PIPELINE")
    span["tags"][3][1] = ""  # what is left out may read
    assert timeless(answer.message) == expected(span)


def test_error(run: Any, server: Server) -> None:
    def call() -> Any:
        with client(server) as connection, pytest.raises(redis.ResponseError) as raised:
            connection.execute_command("FAIL")
        return str(raised.value)

    answer = run(call)
    logs = [log("redis.exceptions.ResponseError", answer.result)]
    span = command(server, "FAIL", "", "", error=True, logs=logs)
    assert timeless(answer.message) == expected(span)


def test_refused(run: Any, server: Server) -> None:
    server.shutdown()
    server.server_close()

    def call() -> Any:
        with pytest.raises(redis.ConnectionError) as raised:
            redis.Redis("127.0.0.1", server.port, retry=None).get("x")
        return str(raised.value)

    answer = run(call)
    logs = [log("redis.exceptions.ConnectionError", answer.result)]
    span = command(server, "GET", "x", "read", error=True, logs=logs)
    assert timeless(answer.message) == expected(span)


def test_not_reported_and_outside(run: Any, client: Any, server: Server) -> None:
    def call() -> None:
        with redis.Redis("127.0.0.1", server.port, protocol=2) as connection:
            connection.set("a", 1)

    call()
    assert run(call, traced=client.traced(flags="")).messages == []


def test_peer_of_a_socket_file() -> None:
    from skystitch.plugins import sw_redis

    assert sw_redis._peer(redis.Redis(unix_socket_path="/run/redis.sock")) == "unix:/run/redis.sock"
    assert sw_redis._peer(redis.Redis()) == "localhost:6379"
