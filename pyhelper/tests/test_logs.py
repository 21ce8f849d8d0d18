# SPDX-License-Identifier: Apache-2.0
"""Log records: the trace's id in them, and those that go to SkyWalking."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import skystitch
from conftest import SEGMENT, TRACE, Client
from skystitch import agent, http_exits, logs
from skystitch.channel import losses
from skystitch.clock import to_wall

flask = pytest.importorskip("flask")

HERE = __name__
app = flask.Flask(__name__)
logger = logging.getLogger("records")


@app.get("/say")
def say() -> str:
    logger.warning("low: %s", flask.request.args.get("what", "bolts"), extra={"secret": "x"})
    return "said"


@app.get("/span")
def span() -> str:
    with skystitch.span("inner"):
        logger.warning("within")
    return "said"


@app.get("/call")
def call() -> str:
    outgoing = http_exits.begin(7002, "GET", "http://stock/")
    assert outgoing is not None
    logger.warning("connecting")
    outgoing.end()
    return "called"


@app.get("/catch")
def catch() -> str:
    try:
        raise KeyError("missing")
    except KeyError:
        logger.exception("caught")
    return "caught"


@app.get("/loguru")
def by_loguru() -> str:
    from loguru import logger

    logger.info("quiet")
    logger.warning("loud: {}", 7)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("caught")
    return "said"


@app.get("/bad")
def bad() -> str:
    logger.warning("%d", "no number")
    return "said"


def records(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for message in messages for record in message.get("logs", ())]


@pytest.fixture
def ask(client: Client) -> Callable[..., list[dict[str, Any]]]:
    """The records that the proxy has got by a request, which tells that they are wanted."""

    def ask(path: str, flags: str = "sl") -> list[dict[str, Any]]:
        to_wall.valid_until = 0
        return records(client(app, path, traced=client.traced(flags)).messages)

    return ask


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the app's own handler writes, with the id of the trace."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(tid)s|%(message)s"))
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_record_of_a_request(ask: Callable[..., Any]) -> None:
    (record,) = ask("/say")
    at = record.pop("at")
    text = record.pop("text")
    assert abs(at / 1e6 - time.time()) < 60
    assert text.endswith("[MainThread] WARNING records - low: bolts")
    assert record == {
        "trace": TRACE,
        "segment": SEGMENT,
        "span": 1,
        "operation": "GET:/say",
        "tags": [["level", "WARNING"], ["logger", "records"], ["thread", "MainThread"]],
    }


def test_a_record_of_a_span(ask: Callable[..., Any]) -> None:
    assert ask("/span")[0]["span"] == 2


def test_a_record_of_an_outgoing_call(ask: Callable[..., Any]) -> None:
    """What the library writes during a call belongs to where the call was made."""
    assert (ask("/call")[0]["trace"], ask("/call")[0]["span"]) == (TRACE, 1)


def test_a_record_beside_requests(ask: Callable[..., Any], client: Client) -> None:
    ask("/say")
    thread = threading.Thread(target=logger.error, args=("beside",), name="other")
    thread.start()
    thread.join()
    (record,) = records(client.proxy.read())
    assert "trace" not in record
    assert ["thread", "other"] in record["tags"]


def test_records_wait_for_the_first_request(ask: Callable[..., Any]) -> None:
    for number in range(40):
        logger.error("early %d", number)
    found = ask("/say")
    assert [record["text"].rpartition(" ")[2] for record in found] == [
        *map(str, range(9, 40)),
        "bolts",
    ]


def test_records_of_the_parent_are_not_the_childs(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger.error("early")
    logs._State.waiting[0] = (os.getpid() + 1, logs._State.waiting[0][1])
    assert len(ask("/say")) == 1


def test_unwanted_records_are_not_made(ask: Callable[..., Any]) -> None:
    logger.error("early")
    assert ask("/say", "s") == []
    assert ask("/say", "s") == []
    assert not logs._State.waiting
    assert len(ask("/say")) == 0  # the answer tells that they are wanted again
    assert len(ask("/say")) == 1


def test_level_and_own_records(
    ask: Callable[..., Any], restart: Callable[..., None], client: Client
) -> None:
    restart(SW_AGENT_LOG_REPORTER_LEVEL="ERROR")
    assert ask("/say") == []
    logger.error("error")
    logging.getLogger("skystitch").error("of the helper")
    (record,) = records(client.proxy.read())
    assert record["text"].endswith("error")


def test_exceptions_go_along(ask: Callable[..., Any]) -> None:
    (record,) = ask("/catch")
    assert "Traceback (most recent call last)" in record["text"]
    assert record["text"].endswith("KeyError: 'missing'")


def test_not_formatted(ask: Callable[..., Any], restart: Callable[..., None]) -> None:
    restart(SW_AGENT_LOG_REPORTER_FORMATTED="false")
    (record,) = ask("/say")
    assert record["text"] == "low: %s"
    assert ["argument.0", "bolts"] in record["tags"]
    (record,) = ask("/catch")
    assert dict(map(tuple, record["tags"]))["exception"].endswith("KeyError: 'missing'\n")


def test_layout_and_safe_mode(ask: Callable[..., Any], restart: Callable[..., None]) -> None:
    restart(
        SW_AGENT_LOG_REPORTER_LAYOUT="%(tid)s %(message)s", SW_AGENT_LOG_REPORTER_SAFE_MODE="true"
    )
    (record,) = ask("/say?what=http://me:secret@host/x")
    assert record["text"] == f"{TRACE} low: http://host/x"


def test_a_bad_layout_is_said_once(
    restart: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    restart(SW_AGENT_LOG_REPORTER_LAYOUT="no field")
    assert "SW_AGENT_LOG_REPORTER_LAYOUT" in caplog.text


def test_filters(ask: Callable[..., Any], restart: Callable[..., None]) -> None:
    logger.addFilter(hide := lambda record: False)
    try:
        assert ask("/say") == []
        restart(SW_AGENT_LOG_REPORTER_IGNORE_FILTER="true")
        assert len(ask("/say")) == 1
    finally:
        logger.removeFilter(hide)


def test_huge_texts_are_cut_in_their_middle(ask: Callable[..., Any], client: Client) -> None:
    ask("/say")
    logger.error("begin %s end", "x" * 100_000)
    (record,) = records(client.proxy.read())
    assert len(record["text"]) < 9000
    assert "begin" in record["text"]
    assert record["text"].endswith("end")


def test_a_flood_is_counted(ask: Callable[..., Any], client: Client) -> None:
    ask("/say")
    for number in range(1000):
        logger.error("%d", number)
    came = len(records(client.proxy.read()))
    assert 150 < came < 500
    logs._State.tokens = 1.0
    logger.error("after")
    (message,) = client.proxy.read()
    assert came + message["lost_logs"] == 1000
    assert not losses  # no segment is incomplete for it


def test_a_record_that_cannot_be_made_is_counted(
    ask: Callable[..., Any], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    assert ask("/bad") == []
    ask("/say")
    logger.error("after")
    assert logs._State.lost == 0


def test_off(ask: Callable[..., Any], restart: Callable[..., None], written: io.StringIO) -> None:
    restart(SW_AGENT_LOG_REPORTER_ACTIVE="false")
    assert ask("/say") == []
    assert ask("/say") == []
    assert written.getvalue() == f"{TRACE}|low: bolts\n" * 2
    original = logging.Logger.callHandlers
    restart(SKYSTITCH_LOG_TID="off")
    assert "sw_logging" in agent.installed_plugins()
    assert logging.Logger.callHandlers is not original
    assert not hasattr(logging.Logger.callHandlers, "__wrapped__")


def test_tid(ask: Callable[..., Any], written: io.StringIO) -> None:
    ask("/say")
    logger.warning("outside")
    assert written.getvalue() == f"{TRACE}|low: bolts\nN/A|outside\n"


def test_tid_for_others(run: Any) -> None:
    record: dict[str, Any] = {"extra": {}}

    def say() -> dict[str, str]:
        logs.patch_record(record)
        return dict(logs.add_tid(None, "info", {"event": "x"}))

    assert run(say).result == {"event": "x", "tid": TRACE}
    assert record == {"extra": {"tid": TRACE}}
    assert logs.tid() == "N/A"


def test_structlog(run: Any) -> None:
    structlog = pytest.importorskip("structlog")
    stream = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[skystitch.logs.add_tid, structlog.processors.JSONRenderer(sort_keys=True)],
    )
    run(lambda: logger.info("within", items=1))
    logger.info("outside")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "within", "items": 1, "tid": TRACE},
        {"event": "outside", "tid": "N/A"},
    ]


def test_loguru(ask: Callable[..., Any], app_of_loguru: io.StringIO) -> None:
    """The id in what it writes, and its records at SkyWalking, with the exception."""
    first, second = ask("/loguru")
    assert app_of_loguru.getvalue().splitlines()[:3] == [
        f"{TRACE}|quiet",
        f"{TRACE}|loud: 7",
        f"{TRACE}|caught",
    ]
    assert first["text"].endswith("loud: 7")
    assert (first["trace"], first["operation"]) == (TRACE, "GET:/loguru")
    assert first["tags"] == [["level", "WARNING"], ["logger", HERE], ["thread", "MainThread"]]
    assert "ZeroDivisionError" in second["text"]
    assert second["tags"][0] == ["level", "ERROR"]


@pytest.fixture
def app_of_loguru() -> Iterator[io.StringIO]:
    """What an app writes that is set up as docs/records.md says."""
    pytest.importorskip("loguru")
    from loguru import logger

    stream = io.StringIO()
    logger.remove()
    logger.configure(patcher=skystitch.logs.patch_record)
    logger.add(stream, format="{extra[tid]}|{message}")
    logger.add(skystitch.logs.loguru_sink, level="WARNING")
    yield stream
    logger.remove()
    logger.configure(patcher=lambda _: None)


def test_the_apps_tid_is_its_own(written: io.StringIO) -> None:
    logger.warning("x", extra={"tid": "mine"})
    assert written.getvalue() == "mine|x\n"
