# SPDX-License-Identifier: Apache-2.0
"""pika: an Exit span for each message that is published, and an Entry for each that is taken, in a
segment of its own. A callback's lasts as long as the callback; that of consume() until the next
message is asked for; that of basic_get() is over at once: nobody says when the app is done."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator
from typing import Any, Callable

from skystitch import errors, exits, log, spans, wire
from skystitch.patches import Patches, require
from skystitch.scope import find_scope

PRODUCER = 52
CONSUMER = 53

_patches = Patches()


def install() -> None:
    if _patches:
        return
    import pika  # the app has imported it
    from pika.adapters.blocking_connection import BlockingChannel
    from pika.channel import Channel

    require(pika, "BasicProperties")
    require(Channel, "basic_publish", "basic_consume", "basic_get")
    require(BlockingChannel, "basic_consume", "basic_get", "consume")
    _patches.wrap(Channel, "basic_publish", _wrap_publish)
    _patches.wrap(Channel, "basic_consume", _wrap_callback)
    _patches.wrap(Channel, "basic_get", _wrap_callback)
    _patches.wrap(BlockingChannel, "basic_consume", _wrap_callback)
    _patches.wrap(BlockingChannel, "basic_get", _wrap_get)
    _patches.wrap(BlockingChannel, "consume", _wrap_generator)


def uninstall() -> None:
    _patches.restore()


def _wrap_publish(original: Callable[..., Any]) -> Callable[..., Any]:
    def basic_publish(
        channel: Any,
        exchange: Any,
        routing_key: Any,
        body: Any,
        properties: Any = None,
        mandatory: bool = False,
    ) -> Any:
        call = exits.start(_describe, channel, exchange, routing_key, carries=True)
        if call is not None:
            properties = _with_trace(channel, properties, call)
        try:
            result = original(channel, exchange, routing_key, body, properties, mandatory)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.end()
        return result

    return basic_publish


def _describe(channel: Any, exchange: Any, routing_key: Any) -> exits.Target:
    broker = _broker(channel)
    operation = f"RabbitMQ/Topic/{exchange}/Queue/{routing_key}/Producer"
    return exits.Target(PRODUCER, "mq", operation, broker, _tags(broker, exchange, routing_key))


def _tags(broker: str, exchange: Any, routing_key: Any) -> list[str]:
    return [
        wire.tag("mq.broker", broker),
        wire.tag("mq.topic", str(exchange)),
        wire.tag("mq.queue", str(routing_key)),
    ]


def _broker(channel: Any) -> str:
    connection = channel.connection
    parameters = getattr(connection, "params", None)
    if parameters is None:  # a blocking connection has another one within
        parameters = connection._impl.params
    return f"{parameters.host}:{parameters.port}"


def _with_trace(channel: Any, properties: Any, call: exits.Call) -> Any:
    """A copy: the caller may publish with the same ones again."""
    try:
        from pika import BasicProperties

        properties = BasicProperties() if properties is None else copy.copy(properties)
        properties.headers = {**(properties.headers or {}), **call.propagated(_broker(channel))}
    except Exception:
        log.internal_error("sw_rabbitmq")
    return properties


def _wrap_callback(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of a method whose second argument is what gets the messages, as that of
    basic_consume(queue, on_message_callback) and of basic_get(queue, callback)."""
    name = list(inspect.signature(original).parameters)[2]

    def take(channel: Any, queue: Any, *args: Any, **kwargs: Any) -> Any:
        if args:
            args = (_watched(args[0]), *args[1:])
        elif name in kwargs:
            kwargs[name] = _watched(kwargs[name])
        try:
            return original(channel, queue, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return take


def _watched(callback: Any) -> Any:
    return _traced(callback) if callable(callback) and not _is_pikas(callback) else callback


def _wrap_get(original: Callable[..., Any]) -> Callable[..., Any]:
    def basic_get(channel: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            found = original(channel, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if found[0] is not None:
            entry = _begin(channel, found[0], found[1])
            if entry is not None:
                entry.end()
        return found

    return basic_get


def _wrap_generator(original: Callable[..., Any]) -> Callable[..., Any]:
    def consume(channel: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        entry = None
        messages = original(channel, *args, **kwargs)
        try:
            for found in messages:
                if found[0] is not None:
                    is_own = find_scope() is None
                    entry = _begin(channel, found[0], found[1])
                    if entry is not None and is_own:
                        entry.enter()
                    elif entry is not None:
                        entry.end()  # a part of what may end before the loop does
                yield found
                if entry is not None:
                    entry.end()
                    entry = None
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            if entry is not None:
                entry.end()
            messages.close()

    return consume


def _is_pikas(callback: Any) -> bool:
    """How a blocking channel gets messages, before it calls the app."""
    return type(getattr(callback, "__self__", None)).__module__.startswith("pika.")


def _traced(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def on_message(channel: Any, method: Any, properties: Any, body: Any) -> Any:
        entry = _begin(channel, method, properties)
        if entry is not None:
            entry.enter()
        try:
            result = callback(channel, method, properties, body)
        except BaseException as error:
            if entry is not None:
                entry.end(error)
            errors.forget_own_frame(error)
            raise
        if entry is not None:
            entry.end()
        return result

    return on_message


def _begin(channel: Any, method: Any, properties: Any) -> spans.LocalSpan | None:
    try:
        broker = _broker(channel)
        headers = properties.headers or {}
        exchange, routing_key = method.exchange, method.routing_key
        return spans.open_entry(
            [str(headers["sw8"])] if headers.get("sw8") else [],
            CONSUMER,
            f"RabbitMQ/Topic/{exchange}/Queue/{routing_key}/Consumer",
            _tags(broker, exchange, routing_key),
            str(headers.get("sw8-correlation") or ""),
            broker,
        )
    except Exception:
        log.internal_error("sw_rabbitmq")
        return None
