# SPDX-License-Identifier: Apache-2.0
"""Answers as broken, old or hostile apps send them, and what a client must get for each.

A case is the bytes of the answer, whether the app closes the connection behind them, and a verdict:
what the client gets. An answer that is cut reaches the client as one that is seen to be cut.
"""

from __future__ import annotations

from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


class Got(NamedTuple):
    """An answer with that status and whole body."""

    body: bytes
    status: int = 200


class Cut(NamedTuple):
    """The head of status 200, at most this much of a body, and no end."""

    at_most: bytes


#: The proxy's own error: the answer says nothing that can be relied on.
BAD = 502
Verdict = Got | Cut | int


class Case(NamedTuple):
    name: str
    answer: bytes
    closes: bool
    verdict: Verdict


def sized(body: bytes, fields: bytes = b"", status: bytes = OK) -> bytes:
    return status + b"Content-Length: %d\r\n" % len(body) + fields + b"\r\n" + body


def fields(more: bytes) -> bytes:
    return sized(b"ok", more)


def chunks(body: bytes) -> bytes:
    return OK + CHUNKED + b"\r\n" + body


STAYS, CLOSES = False, True
Group = dict[str, tuple[bytes, bool, Verdict]]


def status_lines() -> Group:
    """RFC 9112, 4."""

    def line(text: bytes) -> bytes:
        return sized(b"ok", status=text + b"\r\n")

    return {
        "plain": (line(b"HTTP/1.1 200 OK"), STAYS, Got(b"ok")),
        "no reason": (line(b"HTTP/1.1 200 "), STAYS, Got(b"ok")),
        "no reason, no space": (line(b"HTTP/1.1 200"), STAYS, Got(b"ok")),
        "long reason": (line(b"HTTP/1.1 200 " + b"a" * 500), STAYS, Got(b"ok")),
        "UTF-8 reason": (line("HTTP/1.1 200 schön".encode()), STAYS, Got(b"ok")),
        "tab in the reason": (line(b"HTTP/1.1 200 a\tb"), STAYS, Got(b"ok")),
        "HTTP/1.0": (line(b"HTTP/1.0 200 OK"), CLOSES, Got(b"ok")),
        "status of no class": (line(b"HTTP/1.1 600 Odd"), STAYS, Got(b"ok", 600)),
        "status 999": (line(b"HTTP/1.1 999 Odd"), STAYS, Got(b"ok", 999)),
        "unknown status": (line(b"HTTP/1.1 299 Odd"), STAYS, Got(b"ok", 299)),
        "status 000": (line(b"HTTP/1.1 000 Odd"), STAYS, BAD),
        "two digits": (line(b"HTTP/1.1 20 OK"), STAYS, BAD),
        "four digits": (line(b"HTTP/1.1 2000 OK"), STAYS, BAD),
        "sign": (line(b"HTTP/1.1 +20 OK"), STAYS, BAD),
        "letters": (line(b"HTTP/1.1 abc OK"), STAYS, BAD),
        "no status": (line(b"HTTP/1.1"), STAYS, BAD),
        "two spaces": (line(b"HTTP/1.1  200 OK"), STAYS, BAD),
        "space before": (line(b" HTTP/1.1 200 OK"), STAYS, BAD),
        "HTTP/2.0": (line(b"HTTP/2.0 200 OK"), STAYS, BAD),
        "HTTP/0.9": (b"<html>hello</html>", CLOSES, BAD),
        "HTTP/1.10": (line(b"HTTP/1.10 200 OK"), STAYS, BAD),
        "lower case": (line(b"http/1.1 200 OK"), STAYS, BAD),
        "ICY": (line(b"ICY 200 OK"), STAYS, BAD),
        "SMTP": (b"220 mail.test ESMTP\r\n", CLOSES, BAD),
        "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", CLOSES, BAD),
        "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", CLOSES, BAD),
        "a request": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", CLOSES, BAD),
        "NUL in the reason": (line(b"HTTP/1.1 200 O\x00K"), STAYS, BAD),
        "CR in the reason": (line(b"HTTP/1.1 200 O\rK"), STAYS, BAD),
        "LF ends the line": (b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", STAYS, BAD),
        "empty line before": (b"\r\n" + line(b"HTTP/1.1 200 OK"), STAYS, BAD),
        "nothing": (b"", CLOSES, BAD),
        "half a line": (b"HTTP/1.1 20", CLOSES, BAD),
        "half a head": (OK + b"Content-Le", CLOSES, BAD),
    }


def framing() -> Group:
    """RFC 9112, 6.3."""

    def length(value: bytes, body: bytes = b"ok") -> bytes:
        return OK + b"Content-Length: " + value + b"\r\n\r\n" + body

    return {
        "length zero": (length(b"0", b""), STAYS, Got(b"")),
        "no framing, closed": (OK + b"\r\nok", CLOSES, Got(b"ok")),
        "no framing, nothing, closed": (OK + b"\r\n", CLOSES, Got(b"")),
        "two equal lengths": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", STAYS, Got(b"ok")),
        "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 1\r\n\r\nok", STAYS, BAD),
        "list of lengths": (length(b"2, 2"), STAYS, Got(b"ok")),
        "list of differing lengths": (length(b"2, 1"), STAYS, BAD),
        "two digits with a blank": (length(b"2 2"), STAYS, BAD),
        "length with a parameter": (length(b"2;a=b"), STAYS, BAD),
        "length in quotes": (length(b'"2"'), STAYS, BAD),
        "fraction": (length(b"2.0"), STAYS, BAD),
        "plus": (length(b"+2"), STAYS, BAD),
        "minus": (length(b"-2"), STAYS, BAD),
        "hexadecimal": (length(b"0x2"), STAYS, BAD),
        "word": (length(b"two"), STAYS, BAD),
        "empty length": (length(b""), STAYS, BAD),
        "2^64 + 2": (length(b"18446744073709551618"), STAYS, BAD),
        "length and chunked": (OK + b"Content-Length: 2\r\n" + CHUNKED + b"\r\n2\r\nok\r\n" + LAST, STAYS, BAD),
        "chunked and length": (OK + CHUNKED + b"Content-Length: 2\r\n\r\n2\r\nok\r\n" + LAST, STAYS, BAD),
        "chunked twice": (OK + CHUNKED + CHUNKED + b"\r\n2\r\nok\r\n" + LAST, STAYS, BAD),
        "gzip, chunked": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST, STAYS, BAD),
        "unknown coding": (OK + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST, STAYS, BAD),
        "chunked in 1.0": (b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n2\r\nok\r\n" + LAST, CLOSES, BAD),
        "blank behind the name, which a proxy removes": (OK + b"Content-Length\t: 2\r\n\r\nok", STAYS, Got(b"ok")),
        "blank behind the coding's name": (
            OK + b"Transfer-Encoding : chunked\r\n\r\n2\r\nok\r\n" + LAST,
            STAYS,
            Got(b"ok"),
        ),
        "coding with a vertical tab": (OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST, STAYS, BAD),
        "empty coding": (OK + b"Transfer-Encoding:\r\n\r\nok", CLOSES, BAD),
        "body shorter": (length(b"5"), CLOSES, Cut(b"ok")),
        "no body of a length": (length(b"5", b""), CLOSES, Cut(b"")),
        "body longer": (length(b"2", b"ok and more"), STAYS, Got(b"ok")),
        "a second answer": (length(b"2") + sized(b"evil"), STAYS, Got(b"ok")),
        "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", STAYS, Got(b"", 204)),
        "204 chunked": (b"HTTP/1.1 204 No Content\r\n" + CHUNKED + b"\r\n4\r\nevil\r\n" + LAST, STAYS, Got(b"", 204)),
        "304 with a body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", STAYS, Got(b"", 304)),
        "205 without a body": (b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", STAYS, Got(b"", 205)),
    }


def chunked_bodies() -> Group:
    """RFC 9112, 7.1: what was sent on before the mistake stays, the end is missing."""
    return {
        "one": (chunks(b"2\r\nok\r\n" + LAST), STAYS, Got(b"ok")),
        "two": (chunks(b"1\r\no\r\n1\r\nk\r\n" + LAST), STAYS, Got(b"ok")),
        "none": (chunks(LAST), STAYS, Got(b"")),
        "extension": (chunks(b"2;a=b\r\nok\r\n" + LAST), STAYS, Got(b"ok")),
        "trailer": (chunks(b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"), STAYS, Got(b"ok")),
        "zeros": (chunks(b"002\r\nok\r\n000\r\n\r\n"), STAYS, Got(b"ok")),
        "capital digit": (chunks(b"A\r\n0123456789\r\n" + LAST), STAYS, Got(b"0123456789")),
        "no end": (chunks(b"2\r\nok\r\n"), CLOSES, Cut(b"ok")),
        "end without the empty line": (chunks(b"2\r\nok\r\n0\r\n"), CLOSES, Cut(b"ok")),
        "cut in the data": (chunks(b"5\r\nok"), CLOSES, Cut(b"ok")),
        "cut in the size": (chunks(b"2\r\nok\r\n1"), CLOSES, Cut(b"ok")),
        "nothing": (chunks(b""), CLOSES, Cut(b"")),
        "hexadecimal prefix": (chunks(b"2\r\nok\r\n0x2\r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "sign": (chunks(b"2\r\nok\r\n+2\r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "junk behind the size": (chunks(b"2\r\nok\r\n2x\r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "space behind the size": (chunks(b"2\r\nok\r\n2 \r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "no size": (chunks(b"2\r\nok\r\n\r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "LF behind the size": (chunks(b"2\r\nok\r\n2\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "data too long": (chunks(b"2\r\nokay\r\n" + LAST), STAYS, Cut(b"ok")),
        "wraps at 64 bits": (chunks(b"2\r\nok\r\n10000000000000002\r\nno\r\n" + LAST), STAYS, Cut(b"ok")),
        "trailer without a colon": (chunks(b"2\r\nok\r\n0\r\nX\r\n\r\n"), STAYS, Cut(b"ok")),
        "bytes behind the end": (chunks(b"2\r\nok\r\n" + LAST + b"evil"), STAYS, Got(b"ok")),
        "a second answer": (chunks(b"2\r\nok\r\n" + LAST + sized(b"evil")), STAYS, Got(b"ok")),
    }


def heads() -> Group:
    """RFC 9112, 5; 15.2 of RFC 9110 for the interim ones."""
    return {
        "empty value": (fields(b"X-A:\r\n"), STAYS, Got(b"ok")),
        "Latin-1 value": (fields(b"X-A: \xe4\r\n"), STAYS, Got(b"ok")),
        "folded": (fields(b"X-A: 1\r\n 2\r\n"), STAYS, BAD),
        "no colon": (fields(b"X-A\r\n"), STAYS, BAD),
        "no name": (fields(b": 1\r\n"), STAYS, BAD),
        "space before the colon, which a proxy removes": (fields(b"X-A : 1\r\n"), STAYS, Got(b"ok")),
        "space in the name": (fields(b"X A: 1\r\n"), STAYS, BAD),
        "NUL in a value": (fields(b"X-A: 1\x002\r\n"), STAYS, BAD),
        "CR in a value": (fields(b"X-A: 1\r2\r\n"), STAYS, BAD),
        "LF between": (fields(b"X-A: 1\nX-B: 2\r\n"), STAYS, BAD),
        "head of 300 KB": (fields(b"X-A: " + b"a" * 300_000 + b"\r\n"), STAYS, BAD),
        "2,000 fields": (fields(b"".join(b"X-%d: 1\r\n" % i for i in range(2000))), STAYS, BAD),
        "80 fields": (fields(b"".join(b"X-%d: 1\r\n" % i for i in range(80))), STAYS, Got(b"ok")),
        "hop-by-hop": (
            fields(b"Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\n"),
            STAYS,
            Got(b"ok"),
        ),
        "Connection: close, open": (fields(b"Connection: close\r\n"), STAYS, Got(b"ok")),
        "sw8-stitch twice": (fields(b"sw8-stitch: 1;7001;1;1;0;;\r\n" * 2), STAYS, Got(b"ok")),
        "sw8-stitch of nonsense": (fields(b"sw8-stitch: \xff;;;;\r\nSW8-Stitch-Data: ///\r\n"), STAYS, Got(b"ok")),
        "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"ok"), STAYS, Got(b"ok")),
        "102 before": (b"HTTP/1.1 102 Processing\r\n\r\n" + sized(b"ok"), STAYS, Got(b"ok")),
        "103 twice before": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + sized(b"ok"), STAYS, Got(b"ok")),
        "100 and nothing": (b"HTTP/1.1 100 Continue\r\n\r\n", CLOSES, BAD),
        "101 nobody asked for": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", STAYS, BAD),
        "200 interim ones": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200 + sized(b"ok"), STAYS, BAD),
        "interim with a length": (b"HTTP/1.1 103 E\r\nContent-Length: 2\r\n\r\n" + sized(b"ok"), STAYS, Got(b"ok")),
    }


GROUPS = {
    "status line": status_lines(),
    "framing": framing(),
    "chunks": chunked_bodies(),
    "head": heads(),
}

CASES = [Case(f"{group}: {name}", *case) for group, cases in GROUPS.items() for name, case in cases.items()]
