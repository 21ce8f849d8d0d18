# SPDX-License-Identifier: Apache-2.0
"""kafka-python: an Exit span for each record that is handed to a producer, and an Entry for what a
consumer takes, in a segment of its own. A loop over a consumer makes one for each record, which
lasts until the loop asks for the next; poll() one for each batch, with the traces of all its
records, which is over at once: nobody says when the app is done."""

from __future__ import annotations

import time
import weakref
from typing import Any, Callable

from skystitch import errors, exits, log, spans, wire
from skystitch.patches import Patches, require
from skystitch.scope import find_scope

PRODUCER = 40
CONSUMER = 41
_HEADERS_SINCE = (0, 11)
_MAX_REFS = 64

_patches = Patches()


class _Loop:
    """Over one consumer: the work on the record that it was given last."""

    __slots__ = ("asks", "entry")

    def __init__(self) -> None:
        self.asks = False  # for the next record
        self.entry: spans.LocalSpan | None = None

    def end_work(self) -> None:
        entry, self.entry = self.entry, None
        if entry is not None:
            entry.end()


_loops: weakref.WeakKeyDictionary[Any, _Loop] = weakref.WeakKeyDictionary()


def install() -> None:
    if _patches:
        return
    from kafka import KafkaConsumer, KafkaProducer  # the app has imported it

    require(KafkaProducer, "send")
    require(KafkaConsumer, "_poll_once", "__next__", "close")
    _patches.wrap(KafkaProducer, "send", _wrap_send)
    _patches.wrap(KafkaConsumer, "_poll_once", _wrap_poll)
    _patches.wrap(KafkaConsumer, "__next__", _wrap_next)
    _patches.wrap(KafkaConsumer, "close", _wrap_close)


def uninstall() -> None:
    _patches.restore()
    for loop in list(_loops.values()):
        loop.end_work()
    _loops.clear()


def _wrap_send(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(
        producer: Any,
        topic: Any,
        value: Any = None,
        key: Any = None,
        headers: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        call = exits.start(_describe, producer, topic, carries=True)
        if call is not None:
            headers = _with_trace(producer, headers, call)
        try:
            result = original(producer, topic, value, key, headers, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.end()
        return result

    return send


def _describe(producer: Any, topic: Any) -> exits.Target:
    brokers = _brokers(producer)
    tags = [wire.tag("mq.broker", brokers), wire.tag("mq.topic", str(topic))]
    return exits.Target(PRODUCER, "mq", f"Kafka/{topic}/Producer", brokers, tags)


def _with_trace(producer: Any, headers: Any, call: exits.Call) -> Any:
    """A new list: the caller may send with the same one again. Old brokers take no headers."""
    try:
        version = producer.config.get("api_version")
        if isinstance(version, tuple) and version < _HEADERS_SINCE:
            return headers
        added = call.propagated(_brokers(producer))
        kept = [header for header in headers or () if header[0] not in added]
        return [*kept, *((name, value.encode()) for name, value in added.items())]
    except Exception:
        log.internal_error("sw_kafka")
        return headers


def _brokers(client: Any) -> str:
    servers = client.config["bootstrap_servers"]
    return servers if isinstance(servers, str) else ";".join(servers)


def _wrap_poll(original: Callable[..., Any]) -> Callable[..., Any]:
    def _poll_once(consumer: Any, *args: Any, **kwargs: Any) -> Any:
        loop = _loops.get(consumer)
        is_of_loop = loop is not None and loop.asks
        if loop is not None and not is_of_loop:
            loop.end_work()
        try:
            found = original(consumer, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if found and not is_of_loop:
            entry = _begin(consumer, [record for batch in found.values() for record in batch])
            if entry is not None:
                entry.end()
        return found

    return _poll_once


def _wrap_next(original: Callable[..., Any]) -> Callable[..., Any]:
    def take_next(consumer: Any) -> Any:
        loop = _loops.get(consumer) or _new_loop(consumer)
        loop.end_work()
        loop.asks = True
        try:
            record = original(consumer)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            loop.asks = False
        is_own = find_scope() is None
        entry = _begin(consumer, [record])
        if entry is not None and is_own:
            entry.enter()
            loop.entry = entry
        elif entry is not None:
            entry.end()  # a part of what may end before the loop does
        return record

    return take_next


def _new_loop(consumer: Any) -> _Loop:
    loop = _loops[consumer] = _Loop()
    # For who leaves the loop and forgets the consumer, or ends the process.
    weakref.finalize(consumer, loop.end_work)
    return loop


def _wrap_close(original: Callable[..., Any]) -> Callable[..., Any]:
    def close(consumer: Any, *args: Any, **kwargs: Any) -> Any:
        loop = _loops.pop(consumer, None)
        if loop is not None:
            loop.end_work()
        try:
            return original(consumer, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return close


def _begin(consumer: Any, records: list[Any]) -> spans.LocalSpan | None:
    try:
        topics = ";".join(sorted({str(record.topic) for record in records}))
        headers = [dict(record.headers or ()) for record in records[:_MAX_REFS]]
        received = [_text(header["sw8"]) for header in headers if header.get("sw8")]
        correlation = next((_text(header.get("sw8-correlation")) for header in headers), "")
        tags = [wire.tag("mq.broker", _brokers(consumer)), wire.tag("mq.topic", topics)]
        sent_ms = min((record.timestamp or 0 for record in records), default=0)
        if sent_ms > 0:
            waited_ms = max(0, time.time_ns() // 1_000_000 - sent_ms)
            tags.append(wire.tag("transmission.latency", str(waited_ms)))
        operation = f"Kafka/{topics}/Consumer/{consumer.config['group_id'] or ''}"
        return spans.open_entry(
            received, CONSUMER, operation, tags, correlation, _brokers(consumer)
        )
    except Exception:
        log.internal_error("sw_kafka")
        return None


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else ""
