# SPDX-License-Identifier: Apache-2.0
"""Every odd answer of an app gives the client a right one, a clean error, or one that is seen to be
cut; and the next client never gets a byte of it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from corpus_answers import CASES, Case, Cut, Got
from harness import Exchange, Origin, Skystitch, Stage

SOUND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound"


class Setting:
    def __init__(self, stage: Stage) -> None:
        self.origin = Origin(stage, self.answer)
        self.proxy = Skystitch(stage, self.origin.address)
        self.case = CASES[0]

    def answer(self, exchange: Exchange) -> None:
        if exchange.request_line.startswith(b"GET /sound "):
            exchange.send(SOUND)
            return
        exchange.send(self.case.answer)
        if self.case.closes:
            exchange.close()


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Iterator[Setting]:
    return Setting(module_stage)


def read(proxy: Skystitch, method: str) -> tuple[int, bytes, bool, http.client.HTTPMessage]:
    """Status, body, whether it was cut, and the head."""
    with proxy.raw() as client:
        client.send(f"{method} /odd HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
        answer = client.head(method)
        while 100 <= answer.status < 200:
            answer = client.head(method)
        try:
            return answer.status, answer.read(), False, answer.headers
        except http.client.IncompleteRead as error:
            return answer.status, error.partial, True, answer.headers
        except ConnectionResetError:
            return answer.status, b"", True, answer.headers


def check_next(setting: Setting) -> None:
    """Whoever comes next, by a pooled connection or a new one."""
    for _ in range(2):
        with setting.proxy.raw() as client:
            client.send(b"GET /sound HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            answer, body = client.response()
            assert (answer.status, body) == (200, b"sound")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(setting: Setting, case: Case) -> None:
    setting.case = case
    status, body, cut, head = read(setting.proxy, "GET")
    if isinstance(case.verdict, Got):
        assert (status, body, cut) == (case.verdict.status, case.verdict.body, False)
    elif isinstance(case.verdict, Cut):
        assert (status, cut) == (200, True) or status == 502
        assert status == 502 or case.verdict.at_most.startswith(body)
    else:
        assert (status, cut) == (case.verdict, False)
    assert b"evil" not in body
    assert all(name == name.strip() for name in head)
    names = [name.lower() for name in head]
    assert not {"keep-alive", "x-secret"} & set(names)
    assert names.count("content-length") + names.count("transfer-encoding") <= 1
    check_next(setting)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_head_has_no_body(setting: Setting, case: Case) -> None:
    """An app that sends a body all the same gives nobody a byte of it."""
    setting.case = case
    status, body, _, _ = read(setting.proxy, "HEAD")
    assert status >= 200
    assert body == b""
    check_next(setting)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 100
    assert len({(case.answer, case.closes) for case in CASES}) == len(CASES), "no case twice"
