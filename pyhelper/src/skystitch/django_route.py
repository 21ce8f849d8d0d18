# SPDX-License-Identifier: Apache-2.0
"""Django's notation of a route as the name of an operation."""

from __future__ import annotations

_ANCHORS = "AZbBz"
_DROPPED = "^$?*+"


def readable(route: str) -> str:
    """The route with a leading slash. What regular expressions add is taken out: anchors,
    quantifiers, escapes; a named group becomes <name>, another one <var>. Routes of path() have
    nothing of this and stay as they are."""
    if not any(mark in route for mark in ("^", "$", "\\", "(?", "[")):
        return f"/{route}"
    text, _ = _plain(route, 0)
    return f"/{text}"


def _plain(pattern: str, at: int) -> tuple[str, int]:
    """Reads up to the end of the pattern or of the group that is open at `at`."""
    written = []
    while at < len(pattern) and pattern[at] != ")":
        character = pattern[at]
        if character == "(":
            text, at = _group(pattern, at)
            written.append(text)
            continue
        if character == "[":
            end = _end_of_class(pattern, at)
            written.append(pattern[at:end])
            at = end
            continue
        if character == "\\":
            text = pattern[at : at + 2]
            if text[1:].isalnum():
                written.append("" if text[1:] in _ANCHORS else text)
            else:
                written.append(text[1:])
            at += 2
            continue
        if character not in _DROPPED:
            written.append(character)
        at += 1
    return "".join(written), at


def _group(pattern: str, at: int) -> tuple[str, int]:
    """Reads the group that opens at `at`; returns its text and where the pattern goes on."""
    if pattern.startswith("(?:", at):
        text, end = _plain(pattern, at + 3)
        return text, end + 1
    end = _end_of_group(pattern, at)
    if pattern.startswith("(?P<", at):
        name = pattern[at + len("(?P<") : end].partition(">")[0]
        return f"<{name}>", end
    return "" if pattern.startswith("(?", at) else "<var>", end


def _end_of_group(pattern: str, at: int) -> int:
    depth = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            at = _end_of_class(pattern, at) - 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return at


def _end_of_class(pattern: str, at: int) -> int:
    at += 2 if pattern.startswith("[^", at) else 1
    at += 1  # a "]" that comes first is one of the class
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
