# SPDX-License-Identifier: Apache-2.0
"""Every case of the corpus: refused with its status, or passed on as exactly one clean request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from corpus_requests import CASES, Case
from harness import Exchange, Origin, Skystitch, Stage

NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD = re.compile(NAME + rb": ?[^\x00-\x08\x0a-\x1f\x7f]*")
LINE = re.compile(NAME + rb" [!-~\x80-\xff]+ HTTP/1\.1")
SECOND = b"GET /second HTTP/1.1\r\nHost: shop.test\r\nX-Second: 1\r\n\r\n"


class Setting:
    def __init__(self, stage: Stage, config: dict[str, Any] | None = None) -> None:
        self.origin = Origin(stage)
        self.proxy = Skystitch(stage, self.origin.address, config=config)


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Iterator[Setting]:
    return Setting(module_stage)


def check_clean(exchange: Exchange) -> None:
    """What any server behind us can read in one way only."""
    lines = exchange.head.split(b"\r\n")
    assert LINE.fullmatch(lines[0]), lines[0]
    for text in lines[1:]:
        assert FIELD.fullmatch(text), text
    assert len(exchange.values(b"host")) == 1, exchange.head
    framing = exchange.values(b"content-length") + exchange.values(b"transfer-encoding")
    assert len(framing) <= 1, exchange.head
    assert all(value.isdigit() or value == b"chunked" for value in framing), exchange.head
    names = [name for name, _ in exchange.fields]
    assert not [name for name in names if b"_" in name], "WSGI makes one name of a-b and a_b"
    assert not {b"keep-alive", b"te", b"trailer", b"proxy-connection", b"upgrade"} & set(names)
    assert b"@evil" not in exchange.head


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(setting: Setting, case: Case) -> None:
    before = len(setting.origin.exchanges)
    with setting.proxy.raw() as client:
        client.send(case.request)
        answer, _ = client.response()
        if isinstance(case.verdict, int):
            assert answer.status == case.verdict
            assert client.closed(), "the connection must not be used after that"
            assert len(setting.origin.exchanges) == before, "the app saw it"
            return
        assert answer.status == 200
    (exchange,) = setting.origin.exchanges[before:]
    check_clean(exchange)
    assert exchange.body == case.verdict


PASSED = [case for case in CASES if isinstance(case.verdict, bytes) and b"HTTP/1.1" in case.request]


@pytest.mark.parametrize("case", PASSED, ids=[case.name for case in PASSED])
def test_what_follows_is_a_request_of_its_own(setting: Setting, case: Case) -> None:
    """Pipelined behind it in one packet: where one request ends and the next begins is agreed on."""
    before = len(setting.origin.exchanges)
    with setting.proxy.raw() as client:
        client.send(case.request + SECOND)
        assert client.response()[0].status == 200
        if b"close" not in case.request:
            assert client.response()[0].status == 200
    first, *others = setting.origin.exchanges[before:]
    check_clean(first)
    assert first.body == case.verdict
    assert not first.values(b"x-second")
    assert [other.request_line for other in others] in ([], [b"GET /second HTTP/1.1"])


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 300
    assert len({case.request for case in CASES}) == len(CASES), "no case twice"
