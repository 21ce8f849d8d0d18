# SPDX-License-Identifier: Apache-2.0
"""celery: an Exit span for each task that is sent, and for each that a worker runs an Entry, in a
segment of its own. What celery's own libraries do to send it is part of the one span."""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import urlsplit

from skystitch import capture, errors, exits, log, spans, wire
from skystitch.patches import Patches, require

COMPONENT = 7011
_PORTS = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672, "redis": 6379, "rediss": 6379}
_SPAN = "_skystitch_span"

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from celery import Celery, signals  # the app has imported it

    require(Celery, "send_task")
    require(signals, "task_prerun", "task_postrun", "task_failure", "task_retry")
    _patches.wrap(Celery, "send_task", _wrap_send_task)
    for signal, receiver in _receivers(signals):
        signal.connect(receiver, weak=False)


def uninstall() -> None:
    if not _patches:
        return
    from celery import signals

    for signal, receiver in _receivers(signals):
        signal.disconnect(receiver)
    _patches.restore()


def _receivers(signals: Any) -> tuple[tuple[Any, Callable[..., None]], ...]:
    return (
        (signals.task_prerun, _begin),
        (signals.task_failure, _note_failure),
        (signals.task_retry, _note_retry),
        (signals.task_postrun, _end),
    )


def _wrap_send_task(original: Callable[..., Any]) -> Callable[..., Any]:
    def send_task(
        app: Any, name: Any, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        call = exits.start(_describe, app, name, args, kwargs, carries=True)
        if call is not None:
            try:
                headers = {**(options.get("headers") or {}), **call.propagated(_broker(app))}
                options = {**options, "headers": headers}
            except Exception:
                log.internal_error("sw_celery")
        try:
            result = original(app, name, args, kwargs, *more, **options)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.end()
        return result

    return send_task


def _describe(app: Any, name: Any, args: Any, kwargs: Any) -> exits.Target:
    broker = _broker(app)
    tags = _tags(broker, args, kwargs)
    return exits.Target(COMPONENT, "mq", f"celery/{name}", broker, tags)


def _tags(broker: str, args: Any, kwargs: Any) -> list[str]:
    tags = [wire.tag("mq.broker", broker)]
    length = capture.Options.celery_length
    if length:
        given = f"*{capture.shown(args or (), length)}, **{capture.shown(kwargs or {}, length)}"
        tags.append(wire.tag("celery.parameters", given[:length]))
    return tags


def _broker(app: Any) -> str:
    """Host and port: the URL may hold a password."""
    url = app.conf.broker_write_url or app.conf.broker_url or "amqp://localhost"
    if not isinstance(url, str):
        url = next(iter(url), "")
    parts = urlsplit(url.partition(";")[0])
    port = parts.port or _PORTS.get(parts.scheme)
    host = parts.hostname or "localhost"
    return f"{host}:{port}" if port else f"{parts.scheme}:{host}"


def _begin(
    sender: Any = None, task: Any = None, args: Any = None, kwargs: Any = None, **_: Any
) -> None:
    try:
        request = task.request
        broker = _broker(task.app)
        # celery puts a message's headers among the request's attributes.
        sw8 = request.get("sw8") or (request.get("headers") or {}).get("sw8")
        correlation = request.get("sw8-correlation") or ""
        entry = spans.open_entry(
            [str(sw8)] if sw8 else [],
            COMPONENT,
            f"celery/{task.name}",
            _tags(broker, args, kwargs),
            str(correlation),
            broker,
        )
        if entry is not None:
            entry.enter()
            setattr(request, _SPAN, entry)
    except Exception:
        log.internal_error("sw_celery")


def _note_failure(sender: Any = None, exception: Any = None, **_: Any) -> None:
    _note(sender, exception, failed=True)


def _note_retry(sender: Any = None, reason: Any = None, **_: Any) -> None:
    _note(sender, getattr(reason, "exc", None), failed=False)


def _note(task: Any, error: Any, *, failed: bool) -> None:
    try:
        entry = getattr(task.request, _SPAN, None)
        if entry is None:
            return
        if isinstance(error, BaseException):
            entry.log(errors.describe(error))
        if failed:
            entry.fail()
    except Exception:
        log.internal_error("sw_celery")


def _end(sender: Any = None, task: Any = None, **_: Any) -> None:
    try:
        entry = getattr(task.request, _SPAN, None)
        if entry is not None:
            setattr(task.request, _SPAN, None)
            entry.end()
    except Exception:
        log.internal_error("sw_celery")
