# SPDX-License-Identifier: Apache-2.0
"""The bytes of the stitch protocol, against the vectors that the proxy is tested with too."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

import pytest

from conftest import SEGMENT, Client, Proxy, b64, environ, sw8, written
from skystitch import context, errors, outbox, wire
from skystitch.channel import losses
from skystitch.clock import to_wall

VECTORS = json.loads(
    (Path(__file__).parents[2] / "tests" / "vectors" / "stitch.json").read_text(encoding="utf-8")
)
REPLAYED = [case for case in VECTORS["cases"] if "app" in case]


class Replay(context.Recording):
    """A recording of what a vector's `app` tells."""

    component = 0
    entry_point = "entry.point"
    told: dict[str, Any]

    def route(self, status: str) -> wire.Route:
        app = self.told
        unknown = "/*" if status.startswith("404") else ""
        path = unknown if app["route"] is None else app["route"]
        operation = wire.operation(app["method"], app["script_name"], path) if path else ""
        return wire.Route(app["component"], app["handler"], operation)


class Clock:
    """Time as the vectors tell it, in microseconds after t0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, t0: int) -> None:
        self.now = 0
        monkeypatch.setattr(context, "perf_counter_ns", lambda: self.now * 1000)
        monkeypatch.setattr(context, "time_ns", lambda: (t0 + self.now) * 1000)
        monkeypatch.setattr(type(to_wall), "measure", lambda *_: None)
        monkeypatch.setattr(to_wall, "ns", t0 * 1000)
        monkeypatch.setattr(to_wall, "valid_until", 1 << 62)


@pytest.mark.parametrize("case", REPLAYED, ids=lambda case: case["name"])
def test_vector(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    app = case["app"]
    clock = Clock(monkeypatch, case["t0"])
    clock.now = app["begin"]
    monkeypatch.setattr(outbox.Outbox, "token", case.get("token", ""))
    monkeypatch.setattr(Replay, "component", app["component"])
    field = case["request"]["sw8-stitch"].replace("@skystitch-test", proxy.channel)
    request = environ(headers={"sw8": sw8(), "sw8-stitch": field})
    sent: list[tuple[str, str]] = []
    recording = Replay(request, lambda _, headers: sent.extend(headers), field, clock.now * 1000)
    recording.told = app
    if "lost" in app:
        losses.append(app["lost"])
    for call in app.get("exits", ()):
        play_call(recording, call, clock)
    play(recording, clock, monkeypatch)

    headers = dict(sent)
    assert headers.pop("X-App") == "kept"
    assert headers.pop("sw8-stitch") == case["header"]
    if "data" in case:
        data = json.loads(base64.b64decode(headers.pop("sw8-stitch-data"), validate=True))
        assert complete(data) == complete(case["data"])
    assert headers == {}
    assert list(map(complete, proxy.read())) == list(map(complete, case["messages"]))


def play(recording: Replay, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view's exception, the answer and its body."""
    app = recording.told
    error, told = None, app.get("exception")
    if told is not None:
        error = Exception()
        monkeypatch.setattr(errors, "describe", lambda _: described(told))
    if "stream" in app:
        recording.expect_stream()
    elif error is not None:
        clock.now = told["at"]
        recording.note(error, is_answer=told.get("http", False))
    clock.now = app["begin"] + app["duration"]
    recording.start_response(f"{app['status']} Status", [("X-App", "kept")])
    if "stream" in app:
        if error is not None:
            clock.now = told["at"]
            recording.note(error)
        clock.now = app["begin"] + app["stream"]["duration"]
        recording.end_stream(error)


def play_call(recording: Replay, told: dict[str, Any], clock: Clock) -> None:
    clock.now = told["begin"]
    span = {"id": recording.new_span(), "parent": 1, "type": "exit", **told}
    error = span.pop("exception", None)
    if error is not None:
        span["logs"] = [{"at": error["at"], "data": described(error)}]
    clock.now += told["duration"]
    recording.add_span(span["id"], written(span))


def described(told: dict[str, Any]) -> list[list[str]]:
    keys = {"error.kind": "kind", "message": "message", "stack": "stack"}
    return [["event", "error"], *([key, told[name]] for key, name in keys.items())]


def complete(made: dict[str, Any]) -> dict[str, Any]:
    """A message with what may be left out of it."""
    empty = {"error": False, "tags": [], "logs": []}
    spans = [{**empty, **span} for span in made.get("spans", ())]
    return {"seq": 0, "last": False, "cut": False, **made, "spans": spans}


@pytest.mark.parametrize(
    ("field", "parsed"),
    [
        ("1;@skystitch-1;1700000000123456;s", ("@skystitch-1", 1700000000123456, True, "")),
        ("1;-;0;", ("-", 0, False, "")),
        ("1;/run/x;12;xs;ab12", ("/run/x", 12, True, "ab12")),
        ("1;-;12;x", ("-", 12, False, "")),
    ],
)
def test_request_field(field: str, parsed: tuple[Any, ...]) -> None:
    assert wire.parse_request(field) == parsed


@pytest.mark.parametrize(
    "field",
    [
        "",
        "1",
        "1;-;12",
        "2;-;12;s",
        "1;;12;s",
        "1;-;;s",
        "1;-;-12;s",
        "1;-;1e3;s",
        "1;-;1_2;s",
        "1;-; 12;s",
        "1;-;²;s",
        "1;-;12;s;mac;more",
        "1;-;12;s,1;-;12;s",
        "1;-;1234567890123456789;s",
    ],
)
def test_defective_request_field(field: str, client: Client) -> None:
    assert wire.parse_request(field) is None
    # Every prefix of a sound field is no sound field with another meaning.
    whole = "1;@skystitch-1;1700000000123456;s"
    for end in range(whole.rindex(";")):
        assert wire.parse_request(whole[:end]) is None


def exit_sw8(received: wire.Sw8, operation: str) -> str:
    before, after = wire.exit_sw8(received, operation)
    return f"{before}7{after}{wire.address('stock:8080')}"


def test_sw8() -> None:
    received = wire.parse_sw8(sw8())
    assert received is not None
    assert received.segment == SEGMENT
    made = exit_sw8(received, "GET:/users/<int:id>").split("-")
    came = sw8().split("-")
    assert made == [
        "1",
        came[1],
        came[2],
        "7",
        came[4],
        came[5],
        b64("GET:/users/<int:id>"),
        b64("stock:8080"),
    ]
    # No route known: the operation goes on as received.
    assert exit_sw8(received, "").split("-")[6] == b64("GET:/raw")
    # SkyWalking's columns end at 150 characters.
    long = exit_sw8(received, "x" * 200).split("-")[6]
    assert long == b64("x" * 150)


@pytest.mark.parametrize("value", ["", "1", "-------", sw8() + "-x", "1-a-%%%-0-c-d-e-f", "0-"])
def test_defective_sw8(value: str) -> None:
    assert wire.parse_sw8(value) is None


@pytest.mark.parametrize(
    ("method", "script_name", "route", "operation"),
    [
        ("GET", "", "/users/<int:id>", "GET:/users/<int:id>"),
        ("PATCH", "/v1", "/", "PATCH:/v1/"),
        ("BREW", "", "/pot", "OTHER:/pot"),
        ("get", "", "/pot", "OTHER:/pot"),
        ("GET", "/v1/", "/x", "GET:/v1/x"),
        ("GET", "/caf\xc3\xa9", "/x", "GET:/café/x"),  # WSGI's bytes as Latin-1
        ("GET", "/\xff", "/x", "GET:/\ufffd/x"),
    ],
)
def test_operation(method: str, script_name: str, route: str, operation: str) -> None:
    assert wire.operation(method, script_name, route) == operation


def test_header_fields_are_visible_ascii() -> None:
    every = "".join(map(chr, range(0x100))) + "\ud800\U0001f600"
    escaped = wire.escape(every)
    assert all(0x21 <= ord(character) <= 0x7E for character in escaped)
    assert ";" not in escaped
    assert escaped.startswith("%01")  # NUL has gone
    assert escaped.endswith("%EF%BF%BD%F0%9F%98%80")


def view() -> None:
    pass


class Callable_:  # noqa: N801
    def __call__(self) -> None:
        pass


def test_handler_name() -> None:
    assert wire.handler_name(view) == f"{__name__}.view"
    assert wire.handler_name(functools.partial(functools.partial(view))) == f"{__name__}.view"
    assert wire.handler_name(Callable_()) == f"{__name__}.Callable_"
    assert wire.handler_name(Callable_) == f"{__name__}.Callable_"
    assert wire.handler_name(len) == "builtins.len"


def span(number: int, text: str = "") -> str:
    logs = [{"at": 1, "data": [["event", "error"], ["stack", text]]}] if text else []
    return written({"id": number, "parent": 1, "type": "exit", "operation": "/x", "logs": logs})


def read(parts: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(part) for part in parts]


def test_messages_of_any_size_keep_the_limit() -> None:
    route = wire.Route(7001, "shop.view", "GET:/x")
    for count in (0, 1, 2, 299, 2000):
        parts, dropped = wire.messages(
            wire.head(SEGMENT, 7001, route), [span(n) for n in range(count)]
        )
        assert dropped == 0
        assert all(len(part) <= wire.MAX_MESSAGE_BYTES for part in parts)
        made = read(parts)
        assert [part["seq"] for part in made] == list(range(len(parts)))
        assert [part["last"] for part in made] == [False] * (len(parts) - 1) + [True]
        assert [item["id"] for part in made for item in part["spans"]] == list(range(count))
        assert not any("cut" in part for part in made)


@pytest.mark.parametrize("character", ["x", "\x01", "é", "\U0001f600", '"', "\ud800", "\n"])
def test_long_stack_keeps_its_end(character: str) -> None:
    route = wire.Route(7001, "shop.view", "GET:/x")
    stack = wire.clean(character * 100_000) + "ValueError: the end"
    parts, dropped = wire.messages(wire.head(SEGMENT, 7001, route), [span(1, stack), span(2)])
    assert dropped == 0
    assert all(len(part) <= wire.MAX_MESSAGE_BYTES for part in parts)
    made = read(parts)
    assert all(part["cut"] is True for part in made)
    kept = made[0]["spans"][0]["logs"][0]["data"][1][1]
    assert kept.startswith("...\n")
    assert kept.endswith("ValueError: the end")
    assert len(kept) > 1000


def test_one_small_part_drops_what_has_no_room() -> None:
    route = wire.Route(7001, "shop.view", "GET:/x")
    spans = [span(1, "x" * 10_000), *(span(n) for n in range(2, 200))]
    parts, dropped = wire.messages(
        wire.head(SEGMENT, 7001, route), spans, wire.MAX_DATA_BYTES, max_parts=1
    )
    (made,) = read(parts)
    assert len(parts[0]) <= wire.MAX_DATA_BYTES
    assert made["cut"] is True
    assert made["last"] is True
    assert made["spans"][0]["id"] == 1
    assert len(made["spans"]) + dropped == 199


def test_parts_are_bounded() -> None:
    route = wire.Route(7001, "shop.view", "GET:/x")
    spans = [span(number, "x" * 30_000) for number in range(100)]
    parts, dropped = wire.messages(wire.head(SEGMENT, 7001, route), spans)
    assert len(parts) == wire.MAX_PARTS
    assert dropped == 100 - wire.MAX_PARTS
    assert read(parts)[-1]["last"] is True


def test_clean() -> None:
    assert wire.clean("a\0b\ud800c\U0001f600") == "ab\ufffdc\U0001f600"
    assert wire.clean("plain") == "plain"


def test_status_code() -> None:
    assert wire.status_code("404 NOT FOUND") == 404
    assert wire.status_code("teapot") == 0
    assert wire.status_code("") == 0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tags": [['k"', "v\\\n"], ["k", "\u00e9\u2028"]], "error": True, "peer": "h:1"},
        {"logs": [{"at": 1, "data": [["event", "x"]]}]},
        {"tags": [["nul", "a\0b"]], "operation": "\0"},
        {"tags": [["half", "\ud800"]], "layer": '"'},
        {"operation": "\\u0000"},
    ],
)
def test_spans_are_written_as_json(more: dict[str, Any]) -> None:
    """By hand, but as the encoder would: whatever the texts hold."""
    made = {"id": 2, "parent": 1, "type": "exit", "layer": "http", "component": 7002}
    made = {**made, "operation": "/x", "begin": 1, "duration": 2, **more}
    (message,), dropped = wire.messages({"v": 1}, [written(made), written(made)])
    assert dropped == 0
    wanted = {**made, "operation": made["operation"].replace("\0", "")}
    if "tags" in made:
        wanted["tags"] = [[key, wire.clean(value)] for key, value in made["tags"]]
    assert json.loads(message)["spans"] == [wanted, wanted]


def test_what_is_remembered_is_bounded() -> None:
    for number in range(3000):
        wire._encoded(str(number))
    assert len(wire._known_base64) <= 512
