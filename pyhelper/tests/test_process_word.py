# SPDX-License-Identifier: Apache-2.0
"""What the process says of itself: when, over which channel, and what."""

from __future__ import annotations

import gc
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import SEGMENT, Client, Proxy
from skystitch import process, wire
from skystitch.channel import losses
from skystitch.clock import to_wall

flask = pytest.importorskip("flask")

VECTORS = json.loads(
    (Path(__file__).parents[2] / "tests" / "vectors" / "stitch.json").read_text(encoding="utf-8")
)

app = flask.Flask(__name__)


@app.get("/")
def index() -> str:
    return "hello"


@app.get("/boom")
def boom() -> str:
    raise ValueError("boom")


@pytest.fixture
def ask(client: Client, restart: Callable[..., None]) -> Callable[..., list[dict[str, Any]]]:
    """A request a second after the one before; the words that the proxy has got by it."""
    restart(SW_AGENT_METER_REPORTER_PERIOD="20")

    def ask(flags: str, path: str = "/", **options: Any) -> list[dict[str, Any]]:
        to_wall.valid_until = 0
        answer = client(app, path, traced=client.traced(flags, **options))
        return [message for message in answer.messages if "process" in message]

    return ask


def test_nothing_is_said_unasked(ask: Callable[..., Any]) -> None:
    assert ask("s") == []
    assert process._on_collection not in gc.callbacks


def test_properties_once_a_channel(ask: Callable[..., Any]) -> None:
    (word,) = ask("sp")
    assert word["v"] == 1
    assert word["process"].startswith(f"{os.getpid()}-")
    assert word["request"] == SEGMENT
    properties = dict(word["properties"])
    assert properties["python_version"] == platform.python_version()
    assert properties["Flask"].split(".")[0] in ("2", "3")
    assert "meters" not in word
    assert ask("sp") == []
    other = Proxy()
    try:
        ask("sp", channel=other.channel)
        (again,) = other.read()
        assert again["process"] == word["process"]
        assert again["properties"] == word["properties"]
    finally:
        other.close()


def test_meters_once_in_their_period(ask: Callable[..., Any]) -> None:
    (word,) = ask("sm")
    meters = word["meters"]
    assert "properties" not in word
    assert set(meters) == {"cpu_us", "rss_bytes", "threads", "gc_collected", "gc_us"}
    assert meters["cpu_us"] > 0
    assert meters["rss_bytes"] > 1 << 20
    assert meters["threads"] >= 1
    assert len(meters["gc_collected"]) == 3
    assert ask("sm") == []
    process._State.due_ns = 0
    before = meters["gc_us"]
    gc.collect()
    (word,) = ask("sm")
    assert word["meters"]["gc_us"] > before


def test_a_second_passes_between_two_questions(ask: Callable[..., Any], client: Client) -> None:
    assert ask("spm")
    process._State.told.clear()
    answer = client(app, "/", traced=client.traced("spm"))
    assert answer.messages == []


def test_a_request_with_details_asks_too(ask: Callable[..., Any]) -> None:
    assert ask("spm", "/boom")


def test_meters_can_be_off(client: Client, restart: Callable[..., None]) -> None:
    for switch in ("SW_AGENT_METER_REPORTER_ACTIVE", "SW_AGENT_PVM_METER_REPORTER_ACTIVE"):
        restart(**{switch: "false"})
        to_wall.valid_until = 0
        answer = client(app, "/", traced=client.traced("sm"))
        assert answer.messages == []


def test_a_word_that_is_lost_is_said_again_and_no_loss_of_a_segment(
    ask: Callable[..., Any],
) -> None:
    gone = Proxy()
    gone.close()
    ask("sp", channel=gone.channel)
    assert not losses
    assert gone.channel not in process._State.told
    assert ask("sp")


def test_a_child_is_another_process(ask: Callable[..., Any]) -> None:
    (word,) = ask("sp")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, process.name().encode())
        os._exit(0)
    os.waitpid(child, 0)
    name = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert name.startswith(f"{child}-")
    assert name != word["process"]


def test_stop_leaves_nothing_behind(ask: Callable[..., Any], restart: Callable[..., None]) -> None:
    ask("sm")
    assert process._on_collection in gc.callbacks
    from skystitch import agent

    agent.stop()
    assert process._on_collection not in gc.callbacks


def test_a_strange_field_is_none(ask: Callable[..., Any]) -> None:
    for field in ("", "1", ";;;", "1;-;1;spml", "1;/etc/passwd;1;spml", "1;@other;1;spml"):
        process.beat(field)
    assert process.asked("1;@skystitch-x;5;spm;mac") == ("@skystitch-x", "spm")


@pytest.mark.parametrize("vector", VECTORS["words"], ids=lambda vector: str(vector["name"]))
def test_vectors(vector: dict[str, Any]) -> None:
    assert json.loads(wire.word(vector["process"], vector["said"])) == vector["message"]
