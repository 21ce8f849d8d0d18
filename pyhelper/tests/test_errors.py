# SPDX-License-Identifier: Apache-2.0
"""What is told of an exception."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from skystitch.errors import class_name, describe, stack


class Outer:
    class InnerError(Exception):
        pass


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised(error: BaseException, depth: int = 0) -> BaseException:
    def down(left: int) -> None:
        if left == 0:
            raise error
        down(left - 1) if left % 2 else other(left - 1)

    def other(left: int) -> None:
        down(left)

    try:
        down(depth)
    except BaseException as caught:
        return caught
    raise AssertionError


def test_names() -> None:
    assert class_name(ValueError) == "ValueError"
    assert class_name(Outer.InnerError) == f"{__name__}.Outer.InnerError"


def test_describe() -> None:
    error = raised(ValueError("no such user"))
    data = describe(error)
    assert data[:3] == [
        ["event", "error"],
        ["error.kind", "ValueError"],
        ["message", "no such user"],
    ]
    key, text = data[3]
    assert key == "stack"
    lines = text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{__file__}", line ')
    assert lines[-1] == "ValueError: no such user"


def test_causes_and_contexts() -> None:
    try:
        try:
            raise raised(KeyError("first"))
        except KeyError as error:
            raise raised(ValueError("second")) from error
    except ValueError as error:
        chain = error
    text = stack(chain)
    assert text.index("KeyError: 'first'") < text.index("direct cause") < text.index("ValueError")


def test_a_circle_of_causes_ends() -> None:
    first, second = raised(ValueError("first")), raised(ValueError("second"))
    first.__cause__, second.__cause__ = second, first
    assert stack(first).endswith("ValueError: first\n")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups")
def test_groups() -> None:
    group: Any = getattr(sys.modules["builtins"], "ExceptionGroup")  # noqa: B009
    text = stack(raised(group("several", [raised(ValueError("one")), raised(KeyError("two"))])))
    assert "ValueError: one" in text
    assert "KeyError: 'two'" in text


def test_deep_stack_keeps_the_innermost_frames() -> None:
    text = stack(raised(Outer.InnerError("deep"), 500))
    assert len(text) < 17_000
    assert text.splitlines()[-1] == f"{__name__}.Outer.InnerError: deep"
    assert "raise error" in text
    assert "in raised" not in text


def test_long_message_leaves_room_for_the_frames() -> None:
    text = stack(raised(ValueError("begin" + "x" * 100_000 + "end")))
    assert len(text) < 4_000
    assert "in raised" in text
    assert "\nValueError: beginxxx" in text
    assert text.endswith("xxxend\n")
    assert dict(describe(raised(ValueError("x" * 100_000))))["message"] == "x" * 2048


def test_exception_that_cannot_be_told() -> None:
    data = dict(describe(raised(SilentError())))
    assert data["error.kind"] == f"{__name__}.SilentError"
    assert data["message"] == ""
    assert data["stack"]
