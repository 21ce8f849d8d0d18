# SPDX-License-Identifier: Apache-2.0
"""Files that are too large for one write: sent by the kernel where it may, by the proxy elsewhere."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Origin, Pki, RawClient, Skystitch, Stage, free_port, until

KIB, MIB = 1 << 10, 1 << 20
DATA = os.urandom(1009) * 2000
LARGE = 32 * MIB  # more than all buffers on the way hold


@dataclass
class Files:
    folder: Path
    access: Path
    collector: Collector
    proxy: Skystitch
    tls_port: int
    pki: Pki

    def raw(self, *, tls: bool, **options: Any) -> RawClient:
        context, port = (self.pki.context(), self.tls_port) if tls else (None, self.proxy.port)
        return RawClient("127.0.0.1", port, tls=context, **options)

    def line(self, path: str) -> dict[str, Any]:
        """The access log's, of the one request for this path."""
        found: list[dict[str, Any]] = []

        def logged() -> bool:
            lines = map(json.loads, self.access.read_text().splitlines())
            found[:] = [line for line in lines if line["target"] == path]
            return bool(found)

        until(logged, f"the line of {path}")
        assert len(found) == 1
        return found[0]

    def put_large(self, name: str) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(LARGE)
        return path


def serving(stage: Stage, **more: Any) -> Files:
    folder, access = stage.path("static"), stage.path("access.log")
    folder.mkdir()
    pki = Pki(stage.directory)
    port, tls_port = free_port(), free_port()
    config = {
        "listen": [
            {"address": f"127.0.0.1:{port}", "h2c": True},
            {"address": f"127.0.0.1:{tls_port}", "tls": pki.sign("localhost", "DNS:localhost").config()},
        ],
        "routes": [
            {"path": "/static/", "static": str(folder)},
            {"path": "/packed/", "static": str(folder), "compress": {"gzip": True}},
        ],
        "log": {"access": str(access), "format": "json"},
        **more,
    }
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config=config, port=port)
    (folder / "data.txt").write_bytes(DATA)
    return Files(folder, access, collector, proxy, tls_port, pki)


@pytest.fixture(scope="module")
def files(module_stage: Stage) -> Files:
    return serving(module_stage)


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    more = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode()


@pytest.mark.parametrize("way", ["--http1.1", "--http2", "--http2-prior-knowledge"])
def test_by_every_way(files: Files, way: str) -> None:
    tls = way == "--http2" or way == "--http1.1"
    url = f"https://localhost:{files.tls_port}" if tls else f"http://127.0.0.1:{files.proxy.port}"
    argv = [
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "--cacert",
        files.pki.authority.certificate,
        way,
        f"{url}/static/data.txt",
    ]
    assert subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout == DATA


@pytest.mark.parametrize("size", [1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 64 * KIB + 1, MIB, len(DATA)])
def test_ranges_of_every_size(files: Files, size: int) -> None:
    first = len(DATA) - size
    with files.proxy.raw() as client:
        client.send(get("/static/data.txt", f"Range: bytes={first}-") + get("/static/data.txt", "Range: bytes=0-0"))
        for body in (DATA[first:], DATA[:1]):
            answer, got = client.response()
            assert (answer.status, got) == (206, body)


def test_compressed_on_its_way(files: Files) -> None:
    with files.proxy.raw() as client:
        client.send(get("/packed/data.txt", "Accept-Encoding: gzip") + get("/packed/data.txt"))
        answer, body = client.response()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(body) == DATA
        assert client.response()[1] == DATA


def test_requests_behind_it(files: Files) -> None:
    """All are on their way before the first answer; the connection goes on after them."""
    files.put_large("pipelined.bin")
    paths = ["data.txt", "pipelined.bin", "data.txt"]
    with files.proxy.raw() as client:
        client.send(b"".join(get(f"/static/{path}") for path in paths))
        client.send(get("/static/pipelined.bin", method="HEAD"))
        for path in paths:
            answer, body = client.response()
            assert answer.status == 200
            assert body == (DATA if path == "data.txt" else bytes(LARGE))
        answer, body = client.response("HEAD")
        assert (answer.headers["Content-Length"], body) == (str(LARGE), b"")
        client.send(get("/static/data.txt", "Connection: close"))
        assert client.response()[1] == DATA
        assert client.closed()


def test_http_1_0(files: Files) -> None:
    with files.proxy.raw() as client:
        client.send(b"GET /static/data.txt HTTP/1.0\r\n\r\n")
        assert client.rest().endswith(b"\r\n\r\n" + DATA)


def test_a_client_that_has_shut_its_side(files: Files) -> None:
    files.put_large("half.bin")
    with files.proxy.raw() as client:
        client.send(get("/static/half.bin"))
        client.half_close()
        assert len(client.response()[1]) == LARGE
        assert client.closed()
    line = files.line("/static/half.bin")
    assert (line["status"], line["bytes"]) == (200, LARGE)


def test_a_client_that_leaves(files: Files) -> None:
    """What is counted went out; the rest did not."""
    files.put_large("left.bin")
    gone = files.proxy.metric("skystitch_client_gone_total")
    with files.proxy.raw(receive_buffer=4096) as client:
        client.send(get("/static/left.bin"))
        assert len(client.head().read(MIB)) == MIB
    line = files.line("/static/left.bin")
    assert MIB <= line["bytes"] < LARGE
    assert files.proxy.metric("skystitch_client_gone_total") == gone + 1
    assert files.collector.one(lambda segment: segment.path() == "/static/left.bin")
    descriptors = Path(f"/proc/{files.proxy.pid}/fd")
    assert not any("left.bin" in str(fd.readlink()) for fd in descriptors.iterdir() if fd.is_symlink())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("left", [0, 8 * MIB + 1])
def test_a_file_that_gets_shorter(files: Files, left: int, tls: bool) -> None:
    path = files.put_large(f"cut-{left}-{tls}.bin")
    cut = files.proxy.metric("skystitch_responses_cut_total", reason="upstream")
    with files.raw(tls=tls, receive_buffer=4096) as client:
        client.send(get(f"/static/{path.name}") + get("/static/data.txt"))
        answer = client.head()
        assert len(answer.read(100_000)) == 100_000
        os.truncate(path, left)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
    assert files.line(f"/static/{path.name}")["bytes"] < LARGE
    assert files.proxy.metric("skystitch_responses_cut_total", reason="upstream") == cut + 1
    assert files.collector.one(lambda segment: segment.path() == f"/static/{path.name}").entry.error
    assert "got shorter" in files.proxy.log()


def test_a_file_that_is_replaced(files: Files) -> None:
    """As deployments do, by a new file of the same name: the answer stays that of the old one."""
    path = files.put_large("replaced.bin")
    with files.proxy.raw(receive_buffer=4096) as client:
        client.send(get("/static/replaced.bin") + get("/static/replaced.bin"))
        answer = client.head()
        assert len(answer.read(100_000)) == 100_000
        (files.folder / "new").write_bytes(DATA)
        (files.folder / "new").rename(path)
        assert answer.read() == bytes(LARGE - 100_000)
        assert client.response()[1] == DATA


def test_a_client_that_is_too_slow(stage: Stage) -> None:
    """It takes something in each timeouts.write, but less than limits.answer_rate."""
    files = serving(stage, timeouts={"write": "2s"}, limits={"answer_rate": "1MiB"})
    files.put_large("sipped.bin")
    with files.proxy.raw(receive_buffer=4096) as client:
        client.send(get("/static/sipped.bin"))

        def cut() -> bool:
            with contextlib.suppress(ConnectionError):
                client.sock.recv(4096)
            return files.proxy.metric("skystitch_responses_cut_total", reason="rate") == 1

        until(cut, "the cut")
    assert files.line("/static/sipped.bin")["bytes"] < LARGE


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_slow_reader_takes_no_memory(files: Files, tls: bool) -> None:
    files.put_large("slow.bin")
    before = files.proxy.memory_kb()
    with files.raw(tls=tls, receive_buffer=4096) as client:
        client.send(get("/static/slow.bin"))
        answer = client.head()
        assert len(answer.read(100_000)) == 100_000
        files.proxy.check_growth(before, 4096)
        assert len(answer.read()) == LARGE - 100_000


def test_others_have_their_turn(files: Files) -> None:
    """Clients that take all they can get do not keep a small request waiting for their ends."""
    files.put_large("shared.bin")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(files.proxy.raw(receive_buffer=4096)) for _ in range(20)]
        for client in clients:
            client.send(get("/static/shared.bin"))
        assert files.proxy.get("/static/data.txt").content == DATA
        for client in clients[:2]:
            assert len(client.response()[1]) == LARGE
