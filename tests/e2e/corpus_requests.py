# SPDX-License-Identifier: Apache-2.0
"""Requests as attackers, old clients and broken libraries send them, and what must become of each.

A case is bytes and a verdict: the status of the refusal, or the body that the app gets with the one
request that they are (RFC 9112; the section is named where a case has one). What passes has to be
clean whatever came in, which test_request_corpus.py checks for all.
"""

from __future__ import annotations

from typing import NamedTuple

HOST = b"Host: shop.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"

#: A status: refused with it, and the connection closed. Bytes: passed with this body.
Verdict = int | bytes


class Case(NamedTuple):
    name: str
    request: bytes
    verdict: Verdict


def line(text: bytes, fields: bytes = HOST, body: bytes = b"") -> bytes:
    return text + b"\r\n" + fields + b"\r\n" + body


def get(fields: bytes) -> bytes:
    return line(b"GET /a HTTP/1.1", HOST + fields)


def post(fields: bytes, body: bytes = b"") -> bytes:
    return line(b"POST /a HTTP/1.1", HOST + fields, body)


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body)


def request_lines() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 3."""
    return {
        "origin form": (line(b"GET /a?b=c HTTP/1.1"), b""),
        "absolute form": (line(b"GET http://shop.test/a HTTP/1.1"), b""),
        "absolute form, other host wins": (line(b"GET http://other.test/a HTTP/1.1"), b""),
        "asterisk of OPTIONS": (line(b"OPTIONS * HTTP/1.1"), b""),
        "asterisk of GET": (line(b"GET * HTTP/1.1"), 400),
        "authority form of CONNECT": (line(b"CONNECT shop.test:80 HTTP/1.1"), 405),
        "no slash": (line(b"GET a HTTP/1.1"), 400),
        "no target": (line(b"GET HTTP/1.1"), 400),
        "empty target": (line(b"GET  HTTP/1.1"), 400),
        "fragment": (line(b"GET /a#b HTTP/1.1"), 400),
        "two spaces after the method": (line(b"GET  /a HTTP/1.1"), 400),
        "two spaces after the target": (line(b"GET /a  HTTP/1.1"), 400),
        "tab after the method": (line(b"GET\t/a HTTP/1.1"), 400),
        "space before the method": (line(b" GET /a HTTP/1.1"), 400),
        "space at the end": (line(b"GET /a HTTP/1.1 "), 400),
        "space within the target": (line(b"GET /a b HTTP/1.1"), 400),
        "no version": (line(b"GET /a"), 400),
        "HTTP/0.9": (b"GET /a\r\n\r\n", 400),
        "HTTP/1.0": (line(b"GET /a HTTP/1.0"), b""),
        "HTTP/1.0 without Host": (b"GET /a HTTP/1.0\r\n\r\n", b""),
        "HTTP/1.2 is 1.1": (line(b"GET /a HTTP/1.2"), 505),
        "HTTP/2.0": (line(b"GET /a HTTP/2.0"), 505),
        "HTTP/11": (line(b"GET /a HTTP/11"), 400),
        "HTTP/1.10": (line(b"GET /a HTTP/1.10"), 400),
        "HTTP/1.": (line(b"GET /a HTTP/1."), 400),
        "HTTP/.1": (line(b"GET /a HTTP/.1"), 400),
        "HTTP/1,1": (line(b"GET /a HTTP/1,1"), 400),
        "http/1.1": (line(b"GET /a http/1.1"), 400),
        "HTTPS/1.1": (line(b"GET /a HTTPS/1.1"), 400),
        "version with a zero": (line(b"GET /a HTTP/01.1"), 400),
        "lower-case method": (line(b"get /a HTTP/1.1"), b""),
        "unknown method": (line(b"BREW /a HTTP/1.1"), b""),
        "method with a colon": (line(b"GET: /a HTTP/1.1"), 400),
        "method in quotes": (line(b'"GET" /a HTTP/1.1'), 400),
        "no method": (line(b"/a HTTP/1.1"), 400),
        "encoded slash": (line(b"GET /a%2fb HTTP/1.1"), b""),
        "encoded NUL": (line(b"GET /a%00 HTTP/1.1"), b""),
        "encoded CRLF": (line(b"GET /a%0d%0aX:%201 HTTP/1.1"), b""),
        "dots": (line(b"GET /a/../../etc/passwd HTTP/1.1"), b""),
        "double slash": (line(b"GET //evil.test/a HTTP/1.1"), b""),
        "lone percent": (line(b"GET /a% HTTP/1.1"), b""),
        "question marks": (line(b"GET /a??b HTTP/1.1"), b""),
        "empty line before": (b"\r\n" + line(b"GET /a HTTP/1.1"), b""),
        "LF before": (b"\n" + line(b"GET /a HTTP/1.1"), 400),
        "TLS to a plain port": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        "answer in place of a request": (b"HTTP/1.1 200 OK\r\n\r\n", 400),
        "empty head": (b"\r\n\r\n\r\n\r\nGARBAGE\r\n\r\n", 400),
    }


def hosts() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 3.2."""

    def host(value: bytes) -> bytes:
        return line(b"GET /a HTTP/1.1", b"Host: " + value + b"\r\n")

    return {
        "none": (line(b"GET /a HTTP/1.1", b""), 400),
        "none with absolute form": (line(b"GET http://shop.test/a HTTP/1.1", b""), 400),
        "twice the same": (get(HOST), 400),
        "twice, other case": (get(b"HOST: other.test\r\n"), 400),
        "list": (host(b"a.test, b.test"), 400),
        "with a path": (host(b"a.test/b"), 400),
        "with user": (host(b"user@a.test"), 400),
        "with a space": (host(b"a b"), 400),
        "bad port": (host(b"a.test:80x"), 400),
        "port": (host(b"a.test:8080"), b""),
        "empty port": (host(b"a.test:"), b""),
        "IPv6": (host(b"[::1]:80"), b""),
        "unclosed IPv6": (host(b"[::1"), 400),
        "quote": (host(b'a".test'), 400),
        "angle": (host(b"a<b>.test"), 400),
        "backslash": (host(b"a\\b"), 400),
        "percent": (host(b"a%41.test"), b""),
        "underscore": (host(b"a_b.test"), b""),
        "X-Forwarded-Host is not Host": (line(b"GET /a HTTP/1.1", b"X-Forwarded-Host: a\r\n"), 400),
        "Host after a folded line": (line(b"GET /a HTTP/1.1", b"X: 1\r\n Host: a\r\n"), 400),
    }


def lengths() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 6.2 and 6.3."""

    def length(value: bytes, body: bytes = b"abc") -> bytes:
        return post(b"Content-Length: " + value + b"\r\n", body)

    return {
        "plain": (length(b"3"), b"abc"),
        "leading zeros": (length(b"0003"), b"abc"),
        "zero": (length(b"0", b""), b""),
        "space around": (length(b"  3\t"), b"abc"),
        "twice the same": (post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400),
        "twice differing": (post(b"Content-Length: 3\r\nContent-Length: 0\r\n", b"abc"), 400),
        "twice in other case": (post(b"Content-Length: 3\r\ncontent-length: 0\r\n", b"abc"), 400),
        "list": (length(b"3, 3"), 400),
        "list differing": (length(b"3,0"), 400),
        "plus": (length(b"+3"), 400),
        "minus": (length(b"-3"), 400),
        "minus zero": (length(b"-0", b""), 400),
        "hexadecimal": (length(b"0x3"), 400),
        "decimal point": (length(b"3.0"), 400),
        "exponent": (length(b"3e0"), 400),
        "underscore": (length(b"1_0"), 400),
        "space within": (length(b"3 3"), 400),
        "empty": (length(b"", b""), 400),
        "word": (length(b"three"), 400),
        "quoted": (length(b'"3"'), 400),
        "semicolon": (length(b"3;a=b"), 400),
        "wraps at 64 bits": (length(b"18446744073709551619"), 400),
        "2^63": (length(b"9223372036854775808"), 400),
        "many digits": (length(b"0" * 30 + b"3"), b"abc"),
        "Arabic digit": (length("٣".encode()), 400),
        "with a GET": (line(b"GET /a HTTP/1.1", HOST + b"Content-Length: 3\r\n", b"abc"), b"abc"),
        "name with a space": (post(b"Content-Length : 3\r\n", b"abc"), 400),
        "name with an underscore": (post(b"Content_Length: 3\r\n"), b""),
        "name with a NUL": (post(b"Content-Length\x00: 3\r\n", b"abc"), 400),
        "name after a tab": (post(b"\tContent-Length: 3\r\n", b"abc"), 400),
    }


def codings() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 6.1 and 7."""

    def coding(value: bytes) -> bytes:
        return post(b"Transfer-Encoding: " + value + b"\r\n", LAST)

    return {
        "chunked": (coding(b"chunked"), b""),
        "in capitals": (coding(b"CHUNKED"), b""),
        "space around": (coding(b" \tchunked \t"), b""),
        "with length": (post(CHUNKED + b"Content-Length: 5\r\n", LAST), 400),
        "length before": (post(b"Content-Length: 5\r\n" + CHUNKED, LAST), 400),
        "twice": (post(CHUNKED + CHUNKED, LAST), 400),
        "listed twice": (coding(b"chunked, chunked"), 400),
        "gzip, chunked": (coding(b"gzip, chunked"), 400),
        "chunked, gzip": (coding(b"chunked, gzip"), 400),
        "gzip": (coding(b"gzip"), 400),
        "identity": (coding(b"identity"), 400),
        "identity, chunked": (coding(b"identity, chunked"), 400),
        "xchunked": (coding(b"xchunked"), 400),
        "chunkedx": (coding(b"chunkedx"), 400),
        "quoted": (coding(b'"chunked"'), 400),
        "in single quotes": (coding(b"'chunked'"), 400),
        "parameter": (coding(b"chunked;a=b"), 400),
        "comma before": (coding(b",chunked"), 400),
        "comma behind": (coding(b"chunked,"), 400),
        "empty": (coding(b""), 400),
        "vertical tab before": (coding(b"\x0bchunked"), 400),
        "form feed before": (coding(b"\x0cchunked"), 400),
        "NUL behind": (coding(b"chunked\x00"), 400),
        "next line behind": (coding(b"chunked\x85"), 400),
        "no-break space before": (coding(b"\xa0chunked"), 400),
        "name with a space": (post(b"Transfer-Encoding : chunked\r\n", LAST), 400),
        "name with a tab": (post(b"Transfer-Encoding\t: chunked\r\n", LAST), 400),
        "name with a NUL": (post(b"Transfer-Encoding\x00: chunked\r\n", LAST), 400),
        "name with an underscore": (post(b"Transfer_Encoding: chunked\r\n"), b""),
        "name folded": (post(b"Transfer-\r\n Encoding: chunked\r\n", LAST), 400),
        "value folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", LAST), 400),
        "behind a bare LF": (post(b"X: 1\nTransfer-Encoding: chunked\r\n", LAST), 400),
        "behind a bare CR": (post(b"X: 1\rTransfer-Encoding: chunked\r\n", LAST), 400),
        "in HTTP/1.0": (line(b"POST /a HTTP/1.0", HOST + CHUNKED, LAST), 400),
        "in HTTP/1.0 with length": (
            line(b"POST /a HTTP/1.0", HOST + CHUNKED + b"Content-Length: 3\r\n", b"abc"),
            400,
        ),
        "with a GET": (line(b"GET /a HTTP/1.1", HOST + CHUNKED, b"3\r\nabc\r\n" + LAST), b"abc"),
    }


def chunked_bodies() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 7.1."""
    return {
        "two chunks": (chunks(b"3\r\nabc\r\n2\r\nde\r\n" + LAST), b"abcde"),
        "capital digits": (chunks(b"A\r\n0123456789\r\n" + LAST), b"0123456789"),
        "small digits": (chunks(b"a\r\n0123456789\r\n" + LAST), b"0123456789"),
        "leading zeros": (chunks(b"003\r\nabc\r\n" + LAST), b"abc"),
        "zeros as the last": (chunks(b"3\r\nabc\r\n000\r\n\r\n"), b"abc"),
        "extension": (chunks(b"3;a=b\r\nabc\r\n" + LAST), b"abc"),
        "extension without a value": (chunks(b"3;a\r\nabc\r\n" + LAST), b"abc"),
        "quoted extension": (chunks(b'3;a="b;c"\r\nabc\r\n' + LAST), b"abc"),
        "extension of the last": (chunks(b"3\r\nabc\r\n0;a=b\r\n\r\n"), b"abc"),
        "trailer": (chunks(b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"), b"abc"),
        "body looks like a request": (
            chunks(b"13\r\nGET /b HTTP/1.1\r\n\r\n\r\n" + LAST),
            b"GET /b HTTP/1.1\r\n\r\n",
        ),
        "hexadecimal prefix": (chunks(b"0x3\r\nabc\r\n" + LAST), 400),
        "plus": (chunks(b"+3\r\nabc\r\n" + LAST), 400),
        "minus": (chunks(b"-3\r\nabc\r\n" + LAST), 400),
        "underscore": (chunks(b"0_3\r\nabc\r\n" + LAST), 400),
        "space before": (chunks(b" 3\r\nabc\r\n" + LAST), 400),
        "space behind": (chunks(b"3 \r\nabc\r\n" + LAST), 400),
        "tab behind": (chunks(b"3\t\r\nabc\r\n" + LAST), 400),
        "junk behind": (chunks(b"3x\r\nabc\r\n" + LAST), 400),
        "no size": (chunks(b"\r\nabc\r\n" + LAST), 400),
        "extension without a size": (chunks(b";a=b\r\nabc\r\n" + LAST), 400),
        "extension without a name": (chunks(b"3;\r\nabc\r\n" + LAST), 400),
        "LF after the size": (chunks(b"3\nabc\r\n" + LAST), 400),
        "CR after the size": (chunks(b"3\rabc\r\n" + LAST), 400),
        "LF in an extension": (chunks(b"3;a\nb\r\nabc\r\n" + LAST), 400),
        "CR in an extension": (chunks(b"3;a\rb\r\nabc\r\n" + LAST), 400),
        "NUL in an extension": (chunks(b"3;a\x00\r\nabc\r\n" + LAST), 400),
        "open quote in an extension": (chunks(b'3;a="b\r\nabc\r\n' + LAST), 400),
        "LF after the data": (chunks(b"3\r\nabc\n" + LAST), 400),
        "no CRLF after the data": (chunks(b"3\r\nabc" + LAST), 400),
        "data too long": (chunks(b"3\r\nabcd\r\n" + LAST), 400),
        "data too short": (chunks(b"4\r\nabc\r\n" + LAST), 400),
        "wraps at 64 bits": (chunks(b"10000000000000003\r\nabc\r\n" + LAST), 400),
        "many zeros": (chunks(b"0" * 40 + b"3\r\nabc\r\n" + LAST), 400),
        "long extension": (chunks(b"3;a=" + b"b" * 5000 + b"\r\nabc\r\n" + LAST), 400),
        "trailer with length": (chunks(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"), b"abc"),
        "trailer with Host": (chunks(b"3\r\nabc\r\n0\r\nHost: evil.test\r\n\r\n"), b"abc"),
        "trailer without a colon": (chunks(b"3\r\nabc\r\n0\r\nX\r\n\r\n"), 400),
        "folded trailer": (chunks(b"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n"), 400),
        "LF in the trailer": (chunks(b"3\r\nabc\r\n0\r\nX: 1\n\r\n"), 400),
        "LF at the end": (chunks(b"3\r\nabc\r\n0\r\n\n"), 400),
    }


def fields() -> dict[str, tuple[bytes, Verdict]]:
    """RFC 9112, 5; RFC 9110, 5."""
    return {
        "empty value": (get(b"X-A:\r\n"), b""),
        "value without a space": (get(b"X-A:1\r\n"), b""),
        "UTF-8 in the value": (get("X-A: ä\r\n".encode()), b""),
        "Latin-1 in the value": (get(b"X-A: \xe4\r\n"), b""),
        "colons in the value": (get(b"X-A: a:b:c\r\n"), b""),
        "value like a header": (get(b"X-A: Transfer-Encoding: chunked\r\n"), b""),
        "folded by a space": (get(b"X-A: 1\r\n 2\r\n"), 400),
        "folded by a tab": (get(b"X-A: 1\r\n\t2\r\n"), 400),
        "space before the first": (line(b"GET /a HTTP/1.1", b" " + HOST), 400),
        "no colon": (get(b"X-A\r\n"), 400),
        "no name": (get(b": 1\r\n"), 400),
        "space in the name": (get(b"X A: 1\r\n"), 400),
        "space before the colon": (get(b"X-A : 1\r\n"), 400),
        "umlaut in the name": (get("Ä: 1\r\n".encode()), 400),
        "bare LF between": (get(b"X-A: 1\nX-B: 2\r\n"), 400),
        "bare CR between": (get(b"X-A: 1\rX-B: 2\r\n"), 400),
        "CR at the end of a value": (get(b"X-A: 1\r\r\n"), 400),
        "LF ends the head": (b"GET /a HTTP/1.1\r\n" + HOST + b"\n", 400),
        "LF everywhere": (b"GET /a HTTP/1.1\nHost: a\n\n", 400),
        "CR everywhere": (b"GET /a HTTP/1.1\rHost: a\r\r\r\n\r\n", 400),
        "91 fields": (get(b"".join(b"X-%d: 1\r\n" % i for i in range(90))), 431),
        "head of 70 KB": (get(b"X-A: " + b"a" * 70000 + b"\r\n"), 431),
        "line of 9 KB": (line(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
        "Connection names Host": (get(b"Connection: Host\r\n"), b""),
        "Connection names the length": (post(b"Connection: Content-Length\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
        "Connection names X-Forwarded-For": (get(b"Connection: close, X-Forwarded-For\r\n"), b""),
        "Keep-Alive": (get(b"Keep-Alive: timeout=5\r\n"), b""),
        "Proxy": (get(b"Proxy: http://evil.test\r\n"), b""),
        "Trailer and TE": (get(b"TE: trailers\r\nTrailer: X\r\n"), b""),
        "sw8-stitch of a stranger": (get(b"sw8-stitch: 1;@evil;0;s\r\n"), b""),
        "sw8_stitch, which WSGI takes for it": (get(b"sw8_stitch: 1;@evil;0;s\r\n"), b""),
        "X_Forwarded_For, which WSGI takes for it": (get(b"X_Forwarded_For: 6.6.6.6\r\n"), b""),
        "unknown expectation": (post(b"Expect: 200-ok\r\nContent-Length: 0\r\n"), 417),
        "Upgrade to h2c": (
            get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
            b"",
        ),
    }


def control_bytes() -> dict[str, tuple[bytes, Verdict]]:
    """Each byte that no text may have, at each place: all refused, but for the tab in a value and
    what ends a line."""
    cases: dict[str, tuple[bytes, Verdict]] = {}
    for byte in [*range(0x20), 0x7F]:
        char = bytes([byte])
        cases[f"{byte:02x} in the method"] = (line(b"GE" + char + b"T /a HTTP/1.1"), 400)
        cases[f"{byte:02x} in the target"] = (line(b"GET /a" + char + b"b HTTP/1.1"), 400)
        cases[f"{byte:02x} in a name"] = (get(b"X" + char + b"A: 1\r\n"), 400)
        cases[f"{byte:02x} in a value"] = (get(b"X-A: 1" + char + b"2\r\n"), b"" if byte == 0x09 else 400)
        cases[f"{byte:02x} in Host"] = (line(b"GET /a HTTP/1.1", b"Host: a" + char + b"b\r\n"), 400)
    return cases


GROUPS = {
    "request line": request_lines(),
    "Host": hosts(),
    "Content-Length": lengths(),
    "Transfer-Encoding": codings(),
    "chunks": chunked_bodies(),
    "fields": fields(),
    "control byte": control_bytes(),
}

CASES = [
    Case(f"{group}: {name}", request, verdict)
    for group, cases in GROUPS.items()
    for name, (request, verdict) in cases.items()
]
