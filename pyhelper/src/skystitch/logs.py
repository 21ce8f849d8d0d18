# SPDX-License-Identifier: Apache-2.0
"""The app's log records: the id of the running trace in them, and those that SkyWalking gets.

The plugin sw_logging does both for `logging`. For structlog and loguru:

    structlog.configure(processors=[skystitch.logs.add_tid, ...])      # event_dict["tid"]
    loguru.logger.configure(patcher=skystitch.logs.patch_record)       # {extra[tid]}
    loguru.logger.add(skystitch.logs.loguru_sink, level="WARNING")     # to SkyWalking

A record goes over the channel at once, without waiting. Before the first request there is no
channel: some records are kept for it. Left out and counted: more records than the rate allows, what
finds the channel full or gone, the oldest of those that wait.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import MutableMapping
from time import perf_counter
from typing import Any, ClassVar

from skystitch import errors, log, outbox, process, wire
from skystitch.channel import SENT
from skystitch.config import Config
from skystitch.scope import Recorder, Scope, find_scope

#: What stands for the id of a trace where there is none, as the SkyWalking agents write it.
NO_TRACE = "N/A"

_RATE_PER_S = 100
_BURST = 200
_MAX_WAITING = 32
_MAX_TEXT = 8192
_MAX_TAG = 1024
_MAX_ARGUMENTS = 10
_CREDENTIALS = re.compile(r"://[^/@\s]*@")

Entry = dict[str, Any]


class _Formatter(logging.Formatter):
    """As the app's own would, but for the stack: its end is kept, not its beginning, and nothing
    is left in the record."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        return errors.stack(ei[1]).rstrip("\n") if ei[1] is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = kept


class _Options:
    has_tid = True
    reports = True
    ignores_filters = False
    level = logging.WARNING
    is_formatted = True
    formatter: logging.Formatter = _Formatter()
    is_safe = False
    channel = ""  # for records outside of requests


class _State:
    channel = ""  # of the last request that asked for records
    is_unwanted = False  # the last one did not
    tokens = float(_BURST)
    filled_at = 0.0
    lost = 0
    #: Records that wait for a channel, and the process that wrote them.
    waiting: ClassVar[deque[tuple[int, Entry]]] = deque(maxlen=_MAX_WAITING)


def configure(config: Config) -> None:
    _Options.has_tid = config.log_tid
    _Options.reports = config.log_reporter
    _Options.ignores_filters = config.log_ignore_filter
    _Options.level = config.log_reporter_level
    _Options.is_formatted = config.log_reporter_formatted
    _Options.formatter = _formatter(config.log_reporter_layout)
    _Options.is_safe = config.log_reporter_safe
    _Options.channel = config.channel
    _State.channel = ""
    _State.is_unwanted = False
    _State.tokens = float(_BURST)
    _State.lost = 0
    _State.waiting.clear()
    if _beat not in outbox.beats:
        outbox.beats.append(_beat)


def _formatter(layout: str) -> logging.Formatter:
    try:
        return _Formatter(layout or "%(message)s")
    except ValueError as error:
        log.warn_once("layout", "SW_AGENT_LOG_REPORTER_LAYOUT: %s: ignored", error)
        return _Formatter("%(message)s")


def has_tid() -> bool:
    """Whether records get the trace's id."""
    return _Options.has_tid


def reports() -> bool:
    """Whether records are sent."""
    return _Options.reports


def ignores_filters() -> bool:
    """Whether the app's filters do not matter for that."""
    return _Options.ignores_filters


def stop() -> None:
    if _beat in outbox.beats:
        outbox.beats.remove(_beat)
    _State.waiting.clear()


# The trace's id.


def tid() -> str:
    """The id of the running trace."""
    try:
        found = _recorder(find_scope())
        return (found and found[0].trace_id()) or NO_TRACE
    except Exception:
        log.internal_error("the trace's id for a log record")
        return NO_TRACE


def add_tid(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> Any:
    """A processor for structlog: adds `tid`."""
    event_dict["tid"] = tid()
    return event_dict


def patch_record(record: Any) -> None:
    """A patcher for loguru: adds `tid` to `extra`."""
    record["extra"]["tid"] = tid()


# Records for SkyWalking.


def report(record: logging.LogRecord) -> None:
    """Sends a record of `logging`, if its level is one that is reported. Never raises."""
    try:
        if record.levelno < _Options.level or _State.is_unwanted:
            return
        if record.name.partition(".")[0] == "skystitch" or not _take_token():
            return
        tags = [["level", record.levelname], ["logger", record.name]]
        tags.append(["thread", str(record.threadName)])
        text = _Options.formatter.format(record) if _Options.is_formatted else str(record.msg)
        if not _Options.is_formatted:
            arguments = record.args if isinstance(record.args, tuple) else ()
            tags += (
                [f"argument.{at}", str(argument)]
                for at, argument in enumerate(arguments[:_MAX_ARGUMENTS])
            )
            if record.exc_info and record.exc_info[1] is not None:
                tags.append(["exception", errors.stack(record.exc_info[1])])
        _send(_entry(int(record.created * 1_000_000), text, tags))
    except Exception:  # the app's own __str__, or arguments that do not fit the text
        _State.lost += 1


def loguru_sink(message: Any) -> None:
    """A sink for loguru. Its level is the one that is given with it."""
    try:
        if _State.is_unwanted or not _take_token():
            return
        record = message.record
        tags = [["level", record["level"].name], ["logger", str(record["name"])]]
        tags.append(["thread", record["thread"].name])
        _send(_entry(int(record["time"].timestamp() * 1_000_000), str(message).rstrip("\n"), tags))
    except Exception:
        _State.lost += 1


def _recorder(scope: Scope | None) -> tuple[Recorder, int] | None:
    """What records the running code, and its span: that of the call while one goes out."""
    while scope is not None:
        found = scope.below()
        if found is not None:
            return found
        scope = getattr(scope, "above", None)
    return None


def _entry(at_us: int, text: str, tags: list[list[str]]) -> Entry:
    if len(text) > _MAX_TEXT:  # what is said first, and the end of a stack
        text = f"{text[: _MAX_TEXT // 2]}\n...\n{text[-_MAX_TEXT // 2 :]}"
    if _Options.is_safe:
        text = _CREDENTIALS.sub("://", text)
        tags = [[key, _CREDENTIALS.sub("://", value)] for key, value in tags]
    entry: Entry = {
        "at": at_us,
        "text": wire.clean(text),
        "tags": [[key, wire.clean(value[-_MAX_TAG:])] for key, value in tags],
    }
    found = _recorder(find_scope())
    if found is not None:
        recorder, span = found
        trace, segment, span, operation = recorder.names(span)
        if trace:
            entry.update(trace=trace, segment=segment, span=span, operation=wire.clean(operation))
    return entry


def _take_token() -> bool:
    now = perf_counter()
    earned = (now - _State.filled_at) * _RATE_PER_S
    _State.filled_at = now
    _State.tokens = min(_BURST, _State.tokens + earned)
    if _State.tokens < 1:
        _State.lost += 1
        return False
    _State.tokens -= 1
    return True


def _send(entry: Entry) -> None:
    channel = _State.channel or outbox.standing_channel(_Options.channel)
    if not channel:
        if len(_State.waiting) == _MAX_WAITING:
            _State.lost += 1
        _State.waiting.append((os.getpid(), entry))
        return
    word: dict[str, Any] = {"logs": [entry]}
    lost, _State.lost = _State.lost, 0
    if lost:
        word["lost_logs"] = lost
    if outbox.send_word(channel, wire.word(process.name(), word)) != SENT:
        _State.lost += lost + 1


def _beat(field: str) -> None:
    channel, flags = process.asked(field)
    _State.is_unwanted = process.LOGS not in flags
    _State.channel = "" if _State.is_unwanted else channel
    if _State.is_unwanted:
        _State.waiting.clear()
        _State.lost = 0
    pid = os.getpid()
    while _State.waiting:
        writer, entry = _State.waiting.popleft()
        if writer == pid:  # a parent's records are not its children's
            _send(entry)
