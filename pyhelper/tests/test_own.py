# SPDX-License-Identifier: Apache-2.0
"""Segments without a request: what the proxy gets of jobs, workers and shells."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

import skystitch
from conftest import TRACE, Proxy, b64, sw8, written
from skystitch import http_exits, own, spans, wire
from skystitch.channel import losses
from skystitch.scope import find_scope

VECTORS = json.loads(
    (Path(__file__).parents[2] / "tests" / "vectors" / "stitch.json").read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True)
def channel(proxy: Proxy, restart: Any) -> None:
    restart(SKYSTITCH_CHANNEL=proxy.channel)


def read(proxy: Proxy) -> list[dict[str, Any]]:
    """The segments that have come, without their ids and times."""
    made = proxy.read()
    for message in made:
        assert message["at"] > 1_600_000_000_000_000
        assert len(message["segment"]) == 32
        for span in message["spans"]:
            assert span.pop("begin") >= 0
            assert span.pop("duration") >= 0
    return made


def shape(message: dict[str, Any]) -> list[tuple[Any, ...]]:
    keys = ("id", "parent", "type", "operation")
    return [tuple(span[key] for key in keys) for span in message["spans"]]


def test_a_call_alone_is_a_segment(proxy: Proxy) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("SELECT 1")
    connection.close()
    (message,) = read(proxy)
    assert shape(message) == [(1, 0, "exit", "SQLite/execute")]
    assert message.keys() == {"v", "segment", "trace", "at", "seq", "last", "spans"}
    assert find_scope() is None


def test_spans_nest(proxy: Proxy) -> None:
    with skystitch.span("job"):
        trace = skystitch.current_trace_id()
        with skystitch.span("step"):
            connection = sqlite3.connect(":memory:")
            connection.execute("SELECT 1")
            connection.close()
        skystitch.set_tag("done", "1")
    (message,) = read(proxy)
    assert message["trace"] == trace
    assert len(trace) == 32
    assert shape(message) == [
        (1, 0, "local", "job"),
        (3, 2, "exit", "SQLite/execute"),
        (2, 1, "local", "step"),
    ]
    assert message["spans"][0]["tags"] == [["done", "1"]]


def test_each_is_a_trace_of_its_own(proxy: Proxy) -> None:
    for _ in range(2):
        with skystitch.span("job"):
            pass
    first, second = read(proxy)
    assert first["trace"] != second["trace"]
    assert first["segment"] != second["segment"]


def test_work_that_a_message_asks_for(proxy: Proxy) -> None:
    entry = spans.open_entry([sw8(), "defective"], 41, "Kafka/t", [wire.tag("mq.topic", "t")], "")
    assert entry is not None
    entry.enter()
    assert skystitch.current_trace_id() == TRACE
    entry.end(ValueError("no"))
    (message,) = read(proxy)
    assert (message["trace"], message["refs"]) == (TRACE, [sw8()])
    (span,) = message["spans"]
    assert (span["type"], span["layer"], span["component"], span["error"]) == (
        "entry",
        "mq",
        41,
        True,
    )


def test_work_that_is_asked_for_within_a_trace_is_a_part_of_it(proxy: Proxy) -> None:
    with skystitch.span("outer"):
        entry = spans.open_entry([sw8()], 41, "Kafka/t", [wire.tag("mq.topic", "t")])
        assert entry is not None
        entry.end()
    (message,) = read(proxy)
    assert shape(message) == [(1, 0, "local", "outer"), (2, 1, "local", "Kafka/t")]
    assert message["spans"][1]["tags"] == [["mq.topic", "t"]]


def test_of_an_unsampled_caller_nothing_is_said(proxy: Proxy) -> None:
    entry = spans.open_entry([sw8("0")], 41, "Kafka/t", [])
    assert entry is not None
    entry.enter()
    with skystitch.span("inner"):
        call = http_exits.begin(7002, "GET", "http://h/")
        assert call is not None
        call.end()
    entry.end()
    assert read(proxy) == []


def test_outgoing_calls_say_who_calls(proxy: Proxy, restart: Any) -> None:
    def headers() -> dict[str, str]:
        with skystitch.span("job"):
            skystitch.set_correlation("k", "v")
            call = http_exits.begin(7002, "GET", "http://h/x")
            assert call is not None
            call.answered(200)
            return call.headers

    correlation = f"{b64('k')}:{b64('v')}"
    assert headers() == {"sw8-correlation": correlation}
    restart(SKYSTITCH_SERVICE="jobs", SKYSTITCH_INSTANCE="jobs-1")
    made = headers()
    message = read(proxy)[-1]
    assert (message["service"], message["instance"]) == ("jobs", "jobs-1")
    names = ["1", message["trace"], message["segment"], "1", "jobs", "jobs-1", "job", "h:80"]
    fields = [text if text == "1" else b64(text) for text in names]
    assert made == {"sw8": "-".join(fields), "sw8-correlation": correlation}


def test_ignored(proxy: Proxy) -> None:
    with skystitch.span("job"):
        skystitch.ignore()
        with skystitch.span("inner"):
            pass
    assert read(proxy) == []


def test_what_ends_after_its_root_is_counted(proxy: Proxy) -> None:
    late: list[Any] = []
    with skystitch.span("job"):
        inner = skystitch.span("late")
        thread = threading.Thread(target=skystitch.runnable(inner.__enter__))
        thread.start()
        thread.join()
        late.append(inner)
    late[0].__exit__(None, None, None)
    assert [shape(message) for message in read(proxy)] == [[(1, 0, "local", "job")]]
    assert sum(losses) == 1


def test_many_spans_are_cut(proxy: Proxy) -> None:
    with skystitch.span("job"):
        for number in range(400):
            with skystitch.span("x" * 250, tags={"n": number}):
                pass
    (message,) = read(proxy)
    assert message["cut"] is True
    assert message["spans"][0]["operation"] == "job"
    assert sum(losses) > 0


@pytest.mark.parametrize("address", ["@skystitch-nobody-listens", "/no/such", "", "nonsense"])
def test_without_a_proxy(address: str, proxy: Proxy, restart: Any) -> None:
    restart(SKYSTITCH_CHANNEL=address)
    with skystitch.span("job"):
        pass
    assert read(proxy) == []
    assert bool(losses) is bool(address)


def test_auto_finds_an_abstract_channel(
    proxy: Proxy, restart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those on this machine that one of our own user's proxies listens on; no other than the
    test's may get what it sends."""
    monkeypatch.setattr("skystitch.channel._PREFIX", proxy.name)
    restart(SKYSTITCH_CHANNEL="auto")
    with skystitch.span("job"):
        pass
    assert len(read(proxy)) == 1


def test_auto_looks_into_the_directory(tmp_path: Path, restart: Any) -> None:
    import socket

    (tmp_path / "other.sock").write_text("")
    (tmp_path / "skystitch-0-stale.sock").write_text("")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "skystitch-1.sock"))
        listener.listen()
        restart(SKYSTITCH_CHANNEL="auto", SKYSTITCH_CHANNEL_DIR=str(tmp_path))
        with skystitch.span("job"):
            pass
        connection, _ = listener.accept()
        with connection:
            assert json.loads(connection.recv(65536))["spans"][0]["operation"] == "job"


WRITTEN = [case for case in VECTORS["own"] if "app" in case]  # the others no helper writes


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app = case["app"]
    own.configure("@skystitch-test", app.get("service", ""), app.get("instance", ""))
    sent: list[bytes] = []
    monkeypatch.setattr("skystitch.outbox.send_standing", lambda _, message: sent.append(message))
    segment = own.Segment([wire.parse_sw8(value) for value in app.get("refs", ())])  # type: ignore[misc]
    segment._segment, segment._at = case["message"]["segment"], case["message"]["at"]
    if not app.get("refs"):
        segment._trace = case["message"]["trace"]
    for span in app["spans"]:
        segment.add_span(span["id"], written(span))
    assert [json.loads(message) for message in sent] == [case["message"]]
