# SPDX-License-Identifier: Apache-2.0
"""A call of a SQL database as SkyWalking shows it, whatever the driver."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from skystitch import capture, exits, wire

_MAX_STATEMENT = 2000  # what SkyWalking keeps of a slow one
_MAX_REMEMBERED = 512
_MAX_REMEMBERED_LENGTH = 1000

# A string that never ends is masked to the statement's end.
_STRING = r"'(?:[^']|'')*(?:'|\Z)"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)"
_ESCAPED_DOUBLE = r'"(?:[^"\\]|\\.|"")*(?:"|\\?\Z)'
_NAME = r'"(?:[^"]|"")*(?:"|\Z)|`[^`]*(?:`|\Z)'
_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
_NUMBER = r"(?<![\w$:@?])(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)"
_DOLLAR = r"\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"


class Dialect:
    """How literals are written."""

    def __init__(self, literal: str, name: str, comment: str) -> None:
        pattern = f"(?P<literal>{literal}|{_NUMBER})|(?P<name>{name})|(?P<comment>{comment})"
        self._tokens = re.compile(pattern, re.DOTALL)
        self._known: dict[str, str] = {}

    def masked(self, statement: str) -> str:
        """The statement with `?` for each literal, and without comments, which may hold any."""
        known = self._known.get(statement)
        if known is not None:
            return known
        masked = self._tokens.sub(_masked_token, statement[: 4 * _MAX_STATEMENT]).strip()
        if len(statement) <= _MAX_REMEMBERED_LENGTH:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[statement] = masked
        return masked


def _masked_token(match: re.Match[str]) -> str:
    if match.lastgroup == "literal" or match.group("literal") is not None:
        return "?"
    return match.group("name") or " "


POSTGRES = Dialect(f"[eE]{_ESCAPED}|{_STRING}|{_DOLLAR}", _NAME, _COMMENT)
MYSQL = Dialect(f"{_ESCAPED}|{_ESCAPED_DOUBLE}", r"`[^`]*(?:`|\Z)", rf"{_COMMENT}|#[^\n]*")
SQLITE = Dialect(_STRING, _NAME + r"|\[[^\]]*\]", _COMMENT)


class Database(NamedTuple):
    """What is called: one a connection."""

    peer: str
    name: str


class Driver(NamedTuple):
    """What all calls through a driver have in common."""

    component: int
    prefix: str  # of the operation
    db_type: str
    dialect: Dialect

    def call(
        self,
        database: Database,
        method: str,
        statement: object,
        parameters: object = None,
        *,
        many: bool = False,
        context: object = None,
    ) -> exits.Target:
        """context: what an as_string() of the driver's composed statements wants."""
        tags = [wire.tag("db.type", self.db_type), wire.tag("db.instance", database.name)]
        if capture.Options.sql != capture.OFF:
            text = statement_text(statement, context)
            shown = text if capture.Options.sql == capture.FULL else self.dialect.masked(text)
            tags.append(wire.tag("db.statement", shown[:_MAX_STATEMENT]))
            if capture.Options.sql_parameters and parameters:
                given = capture.sql_parameters(text, parameters, many=many)
                if given:
                    tags.append(wire.tag("db.sql.parameters", given))
        operation = f"{self.prefix}/{method}"
        return exits.Target(self.component, "database", operation, database.peer, tags)


def statement_text(statement: object, context: object = None) -> str:
    if isinstance(statement, str):
        return statement
    if isinstance(statement, (bytes, bytearray)):
        return statement.decode("utf-8", "replace")
    compose: Any = getattr(statement, "as_string", None)
    return str(statement) if compose is None else str(compose(context))


def peer(host: object, port: object, socket: str = "") -> str:
    """The server's address. socket: its file, for a host that is this machine by a socket."""
    if socket:
        return f"unix:{socket}"
    name = str(host or "localhost")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
