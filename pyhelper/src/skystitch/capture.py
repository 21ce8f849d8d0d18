# SPDX-License-Identifier: Apache-2.0
"""How much of the data of an app a span shows: what the options allow, cut, secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skystitch.config import Config

#: What may be shown of SQL: nothing, the statement with `?` for each literal, the statement.
OFF, MASKED, FULL = "off", "masked", "full"

MASK = "***"
_SECRETS = (
    "api_key",
    "apikey",
    "auth",
    "cookie",
    "credential",
    "cvv",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
)
# Values of these are written as they say themselves; of others (a model, whose text may ask the
# database) only what they are is said.
_PLAIN = frozenset(("builtins", "bson.objectid", "datetime", "decimal", "ipaddress", "uuid"))


class Options:
    """The options as they are now. 0 for a length: nothing is shown."""

    celery_length = 0
    elasticsearch = False
    mongo_length = 0
    secrets: tuple[str, ...] = _SECRETS
    sql: str = MASKED
    sql_parameters = 0


def configure(config: Config) -> None:
    Options.celery_length = config.celery_length
    Options.elasticsearch = config.elasticsearch
    Options.mongo_length = config.mongo_length
    Options.secrets = (*_SECRETS, *config.secrets)
    Options.sql = config.sql
    Options.sql_parameters = config.sql_parameters


def is_secret(name: object) -> bool:
    """Whether a name says that what it names must not be shown."""
    text = str(name).lower().replace("-", "_")
    return any(secret in text for secret in Options.secrets)


class _Full(Exception):
    """There is no room for more text."""


class _Writer:
    """Writes a value as text, as far as there is room: a large value costs no more than a small."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._parts: list[str] = []

    def text(self, value: object) -> str:
        try:
            self.write(value)
        except _Full:
            self._parts.append("...")
        return "".join(self._parts)

    def write(self, value: object, depth: int = 0) -> None:
        if isinstance(value, (str, bytes, bytearray)):
            self._add(repr(value[: self._room + 1]))
        elif depth > 8:
            self._add("...")
        elif isinstance(value, Mapping):
            self._add("{")
            for count, (key, item) in enumerate(value.items()):
                self._add(f"{', ' if count else ''}{str(key)[: self._room + 1]!r}: ")
                self.write(MASK if is_secret(key) else item, depth + 1)
            self._add("}")
        elif isinstance(value, (list, tuple)):
            self._add("[")
            for count, item in enumerate(value):
                self._add(", " if count else "")
                self.write(item, depth + 1)
            self._add("]")
        else:
            self._add(plain(value))

    def _add(self, text: str) -> None:
        self._parts.append(text[: self._room])
        if len(text) > self._room:
            raise _Full
        self._room -= len(text)


def shown(value: object, length: int) -> str:
    """A value as Python writes it, secrets masked, in at most so many characters and `...`."""
    return _Writer(length).text(value)


def plain(value: object) -> str:
    """One value as text, without a call of what the app has written."""
    kind = type(value)
    return str(value) if kind.__module__ in _PLAIN else f"<{kind.__qualname__}>"


def sql_parameters(statement: str, parameters: Any, *, many: bool = False) -> str:
    """The parameters of a statement as [a,b] or [name=a], or the sets of an executemany. If the
    statement names a secret there is no telling which of them it is: none is shown."""
    length = Options.sql_parameters
    rows = parameters if many else (parameters,)
    if not isinstance(rows, (list, tuple)):  # an iterator can be read but once
        return ""
    unnamed_mask = is_secret(statement)
    parts: list[str] = []
    size = 0
    for row in rows:
        part = _row(row, length, unnamed_mask)
        size += len(part)
        parts.append(part)
        if size > length:
            break
    text = ",".join(parts)
    if len(text) > length:
        text = f"{text[:length]}..."
    return f"[{text}]"


def _row(row: object, length: int, mask: bool) -> str:
    if isinstance(row, Mapping):
        values = [
            f"{name}={MASK if mask or is_secret(name) else _parameter(value, length)}"
            for name, value in row.items()
        ]
    elif isinstance(row, (list, tuple)):
        values = []
        size = 0
        for value in row:
            values.append(MASK if mask else _parameter(value, length))
            size += len(values[-1])
            if size > length:
                break
    else:
        values = [MASK if mask else _parameter(row, length)]
    return ",".join(values)


def _parameter(value: object, length: int) -> str:
    if isinstance(value, str):
        return value[: length + 1]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    return shown(value, length)
