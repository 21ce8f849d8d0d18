# SPDX-License-Identifier: Apache-2.0
"""gRPC with a real server, Elasticsearch and MongoDB with servers of a few lines: what their
clients' calls show. Where the packages are installed: the row "data" of the matrix."""

from __future__ import annotations

import asyncio
import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from calls import exit_header, expected
from conftest import timeless
from test_queues import Place


def without_logs(message: dict[str, Any]) -> dict[str, Any]:
    for span in message["spans"]:
        span.pop("logs", None)
    return timeless(message)


class TestGrpc:
    @pytest.fixture
    def server(self) -> Iterator[Any]:
        grpc = pytest.importorskip("grpc")
        seen: list[Any] = []

        def unary(request: bytes, context: Any) -> bytes:
            seen.append(dict(context.invocation_metadata()))
            if request == b"bad":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            return request

        def stream(request: bytes, context: Any) -> Iterator[bytes]:
            seen.append(dict(context.invocation_metadata()))
            yield from (request, request)

        handlers = {
            "Get": grpc.unary_unary_rpc_method_handler(unary),
            "List": grpc.unary_stream_rpc_method_handler(stream),
        }
        made = grpc.server(futures.ThreadPoolExecutor(2))
        made.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("shop.Stock", handlers),)
        )
        made.peer = f"127.0.0.1:{made.add_insecure_port('127.0.0.1:0')}"
        made.seen = seen
        made.start()
        yield made
        made.stop(None).wait()

    def span(self, server: Any, method: str, status: str, number: int = 2) -> dict[str, Any]:
        made = {
            "id": number,
            "parent": 1,
            "type": "exit",
            "layer": "rpc",
            "component": 23,
            "operation": f"/shop.Stock/{method}",
            "peer": server.peer,
            "tags": [
                ["grpc.method", f"/shop.Stock/{method}"],
                ["grpc.url", server.peer],
                ["grpc.status_code", status],
            ],
        }
        return made if status == "OK" else {**made, "error": True}

    def test_sync(self, run: Any, server: Any) -> None:
        import grpc

        def call() -> None:
            with grpc.insecure_channel(server.peer) as channel:
                get = channel.unary_unary("/shop.Stock/Get")
                assert get(b"x", metadata=(("mine", "1"), ("sw8", "stale"))) == b"x"
                assert list(channel.unary_stream("/shop.Stock/List")(b"y")) == [b"y", b"y"]
                assert get.future(b"z").result() == b"z"
                with pytest.raises(grpc.RpcError) as raised:
                    get(b"bad")
                assert raised.value.code() == grpc.StatusCode.NOT_FOUND
                done.wait(5)

        done = threading.Event()
        done.set()
        answer = run(call)
        made = without_logs(answer.message)
        made["spans"].sort(key=lambda span: span["id"])
        assert made == expected(
            self.span(server, "Get", "OK"),
            self.span(server, "List", "OK", 3),
            self.span(server, "Get", "OK", 4),
            self.span(server, "Get", "NOT_FOUND", 5),
        )
        first = server.seen[0]
        assert (first["mine"], first["sw8"]) == ("1", exit_header(Place(server.peer), 2))

    def test_aio(self, run: Any, server: Any) -> None:
        import grpc

        async def call() -> None:
            async with grpc.aio.insecure_channel(server.peer) as channel:
                get = channel.unary_unary("/shop.Stock/Get")
                assert await get(b"x") == b"x"
                found = [item async for item in channel.unary_stream("/shop.Stock/List")(b"y")]
                assert found == [b"y", b"y"]
                with pytest.raises(grpc.RpcError):
                    await get(b"bad")
                await asyncio.sleep(0)

        made = without_logs(run(lambda: asyncio.run(call())).message)
        made["spans"].sort(key=lambda span: span["id"])
        assert made == expected(
            self.span(server, "Get", "OK"),
            self.span(server, "List", "OK", 3),
            self.span(server, "Get", "NOT_FOUND", 4),
        )
        assert server.seen[0]["sw8"] == exit_header(Place(server.peer), 2)

    def test_ignored_and_outside(self, run: Any, server: Any, restart: Any) -> None:
        import grpc

        restart(SW_PLUGIN_GRPC_IGNORED_METHODS="/shop.Stock/get")

        def call() -> None:
            with grpc.insecure_channel(server.peer) as channel:
                assert channel.unary_unary("/shop.Stock/Get")(b"x") == b"x"

        call()
        assert run(call).messages == []
        assert [headers.get("sw8") for headers in server.seen] == [None, None]


class TestElasticsearch:
    @pytest.fixture
    def server(self) -> Iterator[Any]:
        pytest.importorskip("elasticsearch")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.dumps({"hits": {"hits": []}, "version": {"number": "9.0.0"}}).encode()
                self.send_response(404 if "missing" in self.path else 200)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()
        made.server_close()

    def test_calls(self, run: Any, server: Any, restart: Any) -> None:
        from elasticsearch import AsyncElasticsearch, Elasticsearch, NotFoundError

        restart(SW_PLUGIN_ELASTICSEARCH_TRACE_DSL="true")
        peer = f"127.0.0.1:{server.server_address[1]}"

        async def call_async() -> None:
            async with AsyncElasticsearch(f"http://{peer}") as client:
                await client.search(index="items")

        def call() -> None:
            client = Elasticsearch(f"http://{peer}")
            client.index(index="items", id="7", document={"name": "tea", "password": "x"})
            with pytest.raises(NotFoundError):
                client.get(index="missing", id="8")
            client.close()
            asyncio.run(call_async())

        spans = run(call).message["spans"][1:]
        assert [(span["operation"], span["peer"], span["component"]) for span in spans] == [
            ("Elasticsearch/PUT/items/_doc/{id}", peer, 47),
            ("Elasticsearch/GET/missing/_doc/{id}", peer, 47),
            ("Elasticsearch/POST/items/_search", peer, 47),
        ]
        assert spans[0]["layer"] == "database"
        assert spans[0]["tags"] == [
            ["db.type", "Elasticsearch"],
            ["db.statement", "{'name': 'tea', 'password': '***'}"],
        ]


class TestMongo:
    """OP_MSG with one document each way."""

    @pytest.fixture
    def server(self) -> Iterator[Any]:
        bson = pytest.importorskip("bson")

        def answer(command: dict[str, Any]) -> dict[str, Any]:
            name = next(iter(command))
            if name in ("hello", "ismaster", "isMaster"):
                limits = {"maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 1 << 25}
                version = {"minWireVersion": 0, "maxWireVersion": 21, "maxWriteBatchSize": 1000}
                return {"ok": 1, "isWritablePrimary": True, "helloOk": True, **limits, **version}
            if name == "find":
                batch = [{"_id": 1}]
                return {"ok": 1, "cursor": {"id": 0, "ns": "shop.items", "firstBatch": batch}}
            if name == "drop":
                return {"ok": 0, "errmsg": "ns not found", "code": 26, "codeName": "NoSuch"}
            return {"ok": 1, "n": 1}

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while head := self.receive(16):
                    size, request, _, code = struct.unpack("<iiii", head)
                    body = self.receive(size - 16)
                    if code == 2004:  # OP_QUERY, of the first hello
                        command = bson.decode(body[body.index(b"\0", 4) + 9 :])
                        reply = bson.encode(answer(command))
                        payload = struct.pack("<iqii", 0, 0, 0, 1) + reply
                        self.reply(request, 1, payload)
                    else:
                        length = struct.unpack_from("<i", body, 5)[0]
                        command = bson.decode(body[5 : 5 + length])
                        self.reply(request, 2013, b"\0" * 5 + bson.encode(answer(command)))

            def reply(self, request: int, code: int, payload: bytes) -> None:
                head = struct.pack("<iiii", len(payload) + 16, 0, request, code)
                self.request.sendall(head + payload)

            def receive(self, size: int) -> bytes:
                data = b""
                while len(data) < size:
                    more = self.request.recv(size - len(data))
                    if not more:
                        return b""
                    data += more
                return data

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        made = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()
        made.server_close()

    def test_commands(self, run: Any, server: Any, restart: Any) -> None:
        import pymongo

        restart(
            SW_PLUGIN_PYMONGO_TRACE_PARAMETERS="true", SW_PLUGIN_PYMONGO_PARAMETERS_MAX_LENGTH="80"
        )
        peer = f"127.0.0.1:{server.server_address[1]}"
        address = f"mongodb://{peer}/?directConnection=true&serverSelectionTimeoutMS=5000"

        async def call_async() -> None:
            async with pymongo.AsyncMongoClient(address) as client:
                assert await client.shop.items.find_one({"token": "t"}) == {"_id": 1}

        def call() -> None:
            with pymongo.MongoClient(address) as client:
                assert list(client.shop.items.find({"name": "tea", "password": "x"})) == [
                    {"_id": 1}
                ]
                client.shop.items.insert_one({"name": "mug"})
                with pytest.raises(pymongo.errors.OperationFailure):
                    client.shop.command("drop", "items")
            if hasattr(pymongo, "AsyncMongoClient"):
                asyncio.run(call_async())

        spans = run(call).message["spans"][1:]
        shown = [(span["operation"], span["peer"], span.get("error", False)) for span in spans]
        assert shown[:3] == [
            ("MongoDB/FindOperation", peer, False),
            ("MongoDB/InsertOperation", peer, False),
            ("MongoDB/DropOperation", peer, True),
        ]
        assert shown[3:] in ([], [("MongoDB/FindOperation", peer, False)])
        assert (spans[0]["layer"], spans[0]["component"]) == ("database", 9)
        assert spans[0]["tags"][:2] == [["db.type", "MongoDB"], ["db.instance", "shop"]]
        filters = "{'find': 'items', 'filter': {'name': 'tea', 'password': '***'}"
        assert spans[0]["tags"][2][1].startswith(f"find {filters}")
        assert spans[2]["logs"][0]["data"][1:] == [
            ["error.kind", "NoSuch"],
            ["message", "ns not found"],
        ]
        from skystitch.plugins import sw_pymongo

        assert sw_pymongo._listener.open == {}
