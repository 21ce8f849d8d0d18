# SPDX-License-Identifier: Apache-2.0
"""Servers that stop in the middle, answer early, answer nonsense: nothing hangs, nothing is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import h2.errors
import h2.events
import pytest

from reporter.drive import PATIENCE_S, Drive
from reporter.raw_server import GRPC, Peer, RawServer, confirm

Start = Callable[..., Drive]
# More than the windows of HTTP/2 let through unasked.
LARGE = {"batch": 4 << 20, "memory": 256 << 20, "interval_ms": 200}
# 80 of 1,000 bytes fill the window and not libcurl's buffer behind it: all are read, not all are sent.
LARGE_CALLS = pytest.mark.parametrize("segments", [80, 3000])


def on_request(act: Callable[[Peer, int], None]) -> Callable:
    """At the head, before any of the body was read; the body is never waited for."""

    def behave(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            act(peer, event.stream_id)

    return behave


def on_end(act: Callable[[Peer, int], None]) -> Callable:
    """After the whole body."""

    def behave(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            act(peer, event.stream_id)
        else:
            confirm(peer, event)

    return behave


def status_only(status: int, text: str = "") -> Callable[[Peer, int], None]:
    """Trailers-only, without the RST_STREAM that some servers send after it: grpc-java does not."""
    return lambda peer, stream: peer.answer(stream, GRPC, ("grpc-status", str(status)), ("grpc-message", text))


@LARGE_CALLS
def test_early_status_without_a_reset(drive: Start, segments: int) -> None:
    """libcurl would go on until its deadline: the window is used up and nobody reads."""
    with RawServer(on_request(status_only(14, "not%20now"))) as server:
        d = drive(server.address, **LARGE)
        d.push(segments, 1000)
        counters = d.wait(confirmed=segments)
        assert counters["calls_failed"] == 1


def busy_s(pid: int) -> float:
    """Time on a CPU of all threads."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def test_shut_window_costs_no_cpu(drive: Start) -> None:
    """The socket takes bytes, the server's windows do not; a busy machine can only make the figure smaller."""
    filled = threading.Event()
    taken = 0

    def never_read(_: Peer, event: h2.events.Event) -> None:
        nonlocal taken
        if isinstance(event, h2.events.DataReceived):
            taken += event.flow_controlled_length
            if taken >= 65535:
                filled.set()

    with RawServer(never_read, never_read, never_read) as server:
        d = drive(server.address, **LARGE)
        d.push(3000, 1000)
        assert filled.wait(PATIENCE_S)
        before = busy_s(d.process.pid)
        threading.Event().wait(1)
        assert busy_s(d.process.pid) - before < 0.2
        assert d.stop(0)["dropped_stop"] == 3000


@LARGE_CALLS
def test_early_ok_confirms_nothing(drive: Start, segments: int) -> None:
    with RawServer(on_request(status_only(0))) as server:
        d = drive(server.address, **LARGE)
        d.push(segments, 1000)
        counters = d.wait(confirmed=segments)
        assert counters["calls_failed"] == 1


def test_early_status_of_a_small_call(drive: Start) -> None:
    with RawServer(on_request(status_only(14))) as server:
        d = drive(server.address)
        d.push(10)
        d.wait(confirmed=10)


def test_status_before_the_end_of_the_body(drive: Start) -> None:
    """libcurl reads the status, then sends the rest, and would go on until its deadline: nothing more comes."""
    taken, answered = 0, False

    def refuse_and_go_on(peer: Peer, event: h2.events.Event) -> None:
        nonlocal taken, answered
        if isinstance(event, h2.events.DataReceived):
            taken += event.flow_controlled_length
        is_time = taken == 65535 or isinstance(event, h2.events.StreamEnded)
        if is_time and not answered:
            answered = True
            peer.answer(event.stream_id, GRPC, ("grpc-status", "14"))
            peer.h2.increment_flow_control_window(1 << 20, event.stream_id)
            peer.h2.increment_flow_control_window(1 << 20)

    with RawServer(refuse_and_go_on) as server:
        d = drive(server.address, **LARGE)
        d.push(80, 1000)
        counters = d.wait(confirmed=80)
        assert counters["calls_failed"] == 1


def test_message_decides_about_status_8(drive: Start) -> None:
    """Short of memory: kept. Too large: refused, and only what is too large."""
    too_large = on_end(status_only(8, "gRPC message exceeds maximum size 10: 20"))
    with RawServer(on_end(status_only(8, "Watermark exceeded"))) as server:
        d = drive(server.address)
        d.push(1)
        d.wait(confirmed=1)
    with RawServer(too_large) as server:
        d = drive(server.address)
        d.push(1)
        d.wait(dropped_refused=1)


@pytest.mark.parametrize("code", [h2.errors.ErrorCodes.INTERNAL_ERROR, h2.errors.ErrorCodes.REFUSED_STREAM,
                                  h2.errors.ErrorCodes.CANCEL, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM])  # fmt: skip
def test_reset(drive: Start, code: h2.errors.ErrorCodes) -> None:
    with RawServer(on_request(lambda peer, stream: peer.h2.reset_stream(stream, code))) as server:
        d = drive(server.address)
        d.push(100)
        # libcurl sends a refused stream again by itself.
        failed = 0 if code == h2.errors.ErrorCodes.REFUSED_STREAM else 1
        d.wait(confirmed=100, calls_failed=failed)


def test_goaway(drive: Start) -> None:
    with RawServer(on_request(lambda peer, stream: peer.h2.close_connection(last_stream_id=0))) as server:
        d = drive(server.address)
        d.push(100)
        d.wait(confirmed=100)


@pytest.mark.parametrize("when", [on_request, on_end])
def test_connection_closed(drive: Start, when: Callable) -> None:
    with RawServer(when(lambda peer, stream: peer.close())) as server:
        d = drive(server.address)
        d.push(100)
        d.wait(confirmed=100)


def test_unclear_ends(drive: Start) -> None:
    """All was sent and nothing was answered: dropped if so wanted, and only then."""
    with RawServer(on_end(lambda peer, stream: peer.close()), on_end(status_only(1))) as server:
        d = drive(server.address, on_unclear="drop")
        d.push(100)
        d.wait(dropped_unclear=100)
        d.push(50)
        d.wait(dropped_unclear=150)
        d.push(10)
        d.wait(confirmed=10)


@pytest.mark.parametrize("status", [8, 14])
def test_clear_ends(drive: Start, status: int) -> None:
    """An answer that says that nothing was taken is believed."""
    with RawServer(on_end(status_only(status))) as server:
        d = drive(server.address, on_unclear="drop")
        d.push(100)
        d.wait(confirmed=100, dropped_unclear=0)


def test_connection_closed_in_the_middle_of_a_large_batch(drive: Start) -> None:
    def close_at_half(peer: Peer, event: h2.events.Event) -> None:
        confirm(peer, event)
        if isinstance(event, h2.events.DataReceived):
            peer.received = getattr(peer, "received", 0) + len(event.data)
            if peer.received > 1 << 20:
                peer.close()

    with RawServer(close_at_half) as server:
        d = drive(server.address, **LARGE)
        d.push(3000, 1000)
        d.wait(confirmed=3000)
        assert server.acted == 1


@pytest.mark.parametrize("status", ["200", "400", "429", "502", "503"])
def test_http_answer_without_grpc_status(drive: Start, status: str) -> None:
    """From something between us and OAP: it says nothing about the segments."""
    with RawServer(on_end(lambda peer, stream: peer.answer(stream, status=status))) as server:
        d = drive(server.address)
        d.push(100)
        d.wait(confirmed=100, dropped_refused=0)


def test_status_that_is_no_status(drive: Start) -> None:
    with RawServer(on_end(lambda peer, stream: peer.answer(stream, GRPC, ("grpc-status", "-1")))) as server:
        d = drive(server.address)
        d.push(1)
        d.wait(dropped_refused=1)


def test_endless_answer(drive: Start) -> None:
    def flood(peer: Peer, stream: int) -> None:
        peer.answer(stream, GRPC, end=False)
        for _ in range(8):
            peer.h2.send_data(stream, b"\0" * 16384)

    with RawServer(on_end(flood)) as server:
        d = drive(server.address)
        d.push(10)
        counters = d.wait(confirmed=10)
        assert counters["calls_failed"] == 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", b"\0" * 5000])
def test_no_http2_at_all(drive: Start, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock, contextlib.suppress(ConnectionError):  # the reporter may have enough before it is all out
                    sock.recv(1000)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        d = drive(f"127.0.0.1:{listener.getsockname()[1]}")
        d.push(10)
        d.wait_at_least(calls_failed=1)
        assert d.stop(0)["dropped_stop"] == 10
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
