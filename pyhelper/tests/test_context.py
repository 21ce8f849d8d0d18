# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a request, whatever the framework."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from conftest import Client, environ
from skystitch import context, wire


class Plain(context.Recording):
    component = 7000
    entry_point = "entry.point"

    def route(self, status: str) -> wire.Route:
        return wire.Route(7000)


def test_first_spans_of_two_threads_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that works for the request comes between, within the making of the ids."""
    request = environ("/", "GET", client.traced())
    recording = Plain(request, print, request[context.FIELD], 0)
    between: list[int] = []

    def count(start: int) -> Any:
        monkeypatch.undo()
        between.append(recording.new_span())
        recording.add_span(between[0], "a span")
        return itertools.count(start)

    monkeypatch.setattr(context.itertools, "count", count)
    ids = [recording.new_span(), recording.new_span()]
    assert [*between, *ids] == [2, 3, 4]
    assert recording._spans == ["a span"]
