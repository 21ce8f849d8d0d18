# SPDX-License-Identifier: Apache-2.0
"""What this process says of itself to the proxy: what it runs, and what it uses.

Happy path: a request whose sw8-stitch asks for it, once a second at most -> a message over its
channel: the properties once a channel, the meters once in their period. No thread, no timer: a
process without requests says nothing, and does nothing worth saying.
A message that cannot be sent is left out; the next one says it anew.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
from time import perf_counter_ns, process_time_ns
from types import ModuleType
from typing import Any, ClassVar

from skystitch import log, outbox, wire
from skystitch._version import __version__
from skystitch.channel import SENT
from skystitch.scope import ENTRY_SPAN, find_scope

#: Letters among the flags of a request's sw8-stitch: what the proxy takes of processes.
PROPERTIES, METERS, LOGS = "p", "m", "l"

_MAX_CHANNELS = 64
_MAX_PROPERTY = 200

# Packages whose version is worth knowing, by what they are; the first server that is loaded is it.
_FRAMEWORKS = {
    "aiohttp": "aiohttp",
    "bottle": "bottle",
    "celery": "celery",
    "django": "Django",
    "falcon": "falcon",
    "fastapi": "fastapi",
    "flask": "Flask",
    "pyramid": "pyramid",
    "rest_framework": "djangorestframework",
    "sanic": "sanic",
    "starlette": "starlette",
}
_SERVERS = {
    "gunicorn": "gunicorn",
    "uwsgi": "uWSGI",
    "hypercorn": "hypercorn",
    "daphne": "daphne",
    "uvicorn": "uvicorn",
    "waitress": "waitress",
    "mod_wsgi": "mod_wsgi",
}


class _State:
    """Of this process; renewed after a fork."""

    period_ns = 0  # 0: no meters
    pid = 0
    name = ""
    due_ns = 0
    told: ClassVar[set[str]] = set()


class _Collections:
    """Time in garbage collections. There is never more than one at a time."""

    begin = 0
    total_ns = 0


def configure(meter_period_s: int) -> None:
    """meter_period_s: 0 for no meters."""
    _State.period_ns = meter_period_s * 1_000_000_000
    _State.pid = 0
    if beat not in outbox.beats:
        outbox.beats.append(beat)


def stop() -> None:
    if beat in outbox.beats:
        outbox.beats.remove(beat)
    if _on_collection in gc.callbacks:
        gc.callbacks.remove(_on_collection)


def name() -> str:
    """What tells this process from all others of the pod, whose numbers may be the same."""
    pid = os.getpid()
    if pid != _State.pid:
        _State.pid = pid
        _State.name = f"{pid}-{os.urandom(4).hex()}"
        _State.told = set()
        _State.due_ns = 0
    return _State.name


def asked(field: str) -> tuple[str, str]:
    """The channel that a request's sw8-stitch names, and what it asks for there."""
    parts = field.split(";")
    return (parts[1], parts[3]) if len(parts) > 3 else ("-", "")


def beat(field: str) -> None:
    """Called with a request's sw8-stitch, once a second at most."""
    channel, flags = asked(field)
    process = name()
    word: dict[str, Any] = {}
    if PROPERTIES in flags and channel not in _State.told:
        word["properties"] = properties()
    if METERS in flags and _State.period_ns and perf_counter_ns() >= _State.due_ns:
        word["meters"] = meters()
    if not word:
        return
    if len(_State.told) >= _MAX_CHANNELS:
        _State.told.clear()
    _State.told.add(channel)
    _State.due_ns = perf_counter_ns() + _State.period_ns
    segment = _open_segment()
    if segment:
        word["request"] = segment
    if outbox.send_word(channel, wire.word(process, word)) != SENT:
        _State.told.discard(channel)


def _open_segment() -> str:
    """The request that is being answered: who knows its id is the app that the proxy has asked."""
    scope = find_scope()
    found = scope.below() if scope is not None else None
    return found[0].names(ENTRY_SPAN)[1] if found is not None else ""


def meters() -> dict[str, Any]:
    """Totals since the process began, but for memory and threads."""
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)
    threads, pages = _threads_and_pages()
    return {
        "cpu_us": process_time_ns() // 1000,
        "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threads,
        "gc_collected": [generation["collected"] for generation in gc.get_stats()],
        "gc_us": _Collections.total_ns // 1000,
    }


def _threads_and_pages() -> tuple[int, int]:
    # Unpatched and unbuffered: one read of a file that the kernel makes up.
    file = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        stat = os.read(file, 1024)
    finally:
        os.close(file)
    # Fields are counted after the name, which may hold anything: the first there is the third.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return int(fields[17]), int(fields[21])


def _on_collection(phase: str, _info: dict[str, int]) -> None:
    if phase == "start":
        _Collections.begin = perf_counter_ns()
    else:
        _Collections.total_ns += perf_counter_ns() - _Collections.begin


def properties() -> list[list[str]]:
    """What SkyWalking shows of an instance, as far as the app's process knows it."""
    found = [
        ["python_implementation", platform.python_implementation()],
        ["python_version", platform.python_version()],
        ["skystitch helper", __version__],
    ]
    try:
        found += (
            [label, _version(module)] for module, label in _FRAMEWORKS.items() if _is_loaded(module)
        )
        server = next(filter(_is_loaded, _SERVERS), None)
        if server is not None:
            found.append(["app server", f"{_SERVERS[server]} {_version(server)}".strip()])
    except Exception:
        log.internal_error("the properties")
    return [[key, wire.clean(value)[:_MAX_PROPERTY]] for key, value in found]


def _is_loaded(module: str) -> bool:
    return isinstance(sys.modules.get(module), ModuleType)


def _version(name: str) -> str:
    """From the module's own directory: importlib.metadata takes milliseconds and a megabyte."""
    module = sys.modules[name]
    path: str | None = getattr(module, "__file__", None)
    if path is None:  # made by the server itself
        version = getattr(module, "version", "")
        return str(version.decode() if isinstance(version, bytes) else version)
    directory, file = os.path.split(path)
    if file.startswith("__init__."):
        directory = os.path.dirname(directory)
    beginning = f"{_FRAMEWORKS.get(name, _SERVERS.get(name, name))}-".lower()
    for entry in os.listdir(directory):
        if entry.endswith(".dist-info") and entry.lower().startswith(beginning):
            return entry[len(beginning) : -len(".dist-info")]
    return ""
