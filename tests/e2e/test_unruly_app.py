# SPDX-License-Identifier: Apache-2.0
"""An app that does as it likes, under many clients at once: nobody ever gets an answer that is not his.

Each request bears a token and the way in which it is to be answered; each answer bears the token of the
request that it was made for. What a client gets is that answer, a part of it that is seen to be one, or
an error of the proxy's.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable

from harness import Exchange, Origin, Skystitch, Stage

CLIENTS = 12
REQUESTS = 150
BIG = 300_000


def token_of(exchange: Exchange) -> bytes:
    return exchange.request_line.split(b" ")[1].rpartition(b"/")[2]


def head(token: bytes, fields: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nX-Token: " + token + b"\r\n" + fields + b"\r\n"


def sized(token: bytes, body: bytes, fields: bytes = b"") -> bytes:
    return head(token, b"Content-Length: %d\r\n" % len(body) + fields) + body


def chunked(token: bytes, *parts: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head(token, b"Transfer-Encoding: chunked\r\n") + chunks


def plain(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token))


def chunks(exchange: Exchange, token: bytes) -> None:
    exchange.send(chunked(token, *(token[i : i + 1] for i in range(len(token)))) + b"0\r\n\r\n")


def pieces(exchange: Exchange, token: bytes) -> None:
    data = chunked(token, token) + b"0\r\nX-T: 1\r\n\r\n"
    for start in range(0, len(data), 7):
        exchange.send(data[start : start + 7])


def until_close(exchange: Exchange, token: bytes) -> None:
    exchange.send(head(token, b"") + token)
    exchange.close()


def sized_then_close(exchange: Exchange, token: bytes) -> None:
    """As sync workers do, but without saying so."""
    exchange.send(sized(token, token))
    exchange.close()


def big(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, (token * (BIG // len(token) + 1))[:BIG]))


def continued(exchange: Exchange, token: bytes) -> None:
    """Unasked, as some do. A 103 would pass, and http.client takes that for the answer."""
    exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(token, token))


def nothing(exchange: Exchange, token: bytes) -> None:
    exchange.send(head(token, b"", b"204 No Content"))


def extra_bytes(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token) + b"and more than was said")


def two_answers(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token) + sized(b"evil", b"evil"))


def no_answer(exchange: Exchange, token: bytes) -> None:
    exchange.close()


def reset(exchange: Exchange, token: bytes) -> None:
    exchange.reset()


def half_head(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token)[:25])
    exchange.close()


def half_body(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token + b"-and-more")[: -len(b"-more")])
    exchange.close()


def half_chunks(exchange: Exchange, token: bytes) -> None:
    exchange.send(chunked(token, token))
    exchange.close()


def garbage(exchange: Exchange, token: bytes) -> None:
    exchange.send(b"220 smtp.example ESMTP\r\n" + token)


def two_lengths(exchange: Exchange, token: bytes) -> None:
    exchange.send(sized(token, token, b"Content-Length: 1\r\n"))


def bad_chunk(exchange: Exchange, token: bytes) -> None:
    exchange.send(chunked(token, token) + b"0x5\r\nevil!\r\n0\r\n\r\n")


GOOD = [plain, chunks, pieces, until_close, sized_then_close, big, continued, nothing, extra_bytes, two_answers]
BAD = [no_answer, reset, half_head, half_body, half_chunks, garbage, two_lengths, bad_chunk]
KINDS: dict[str, Callable[[Exchange, bytes], None]] = {kind.__name__: kind for kind in GOOD + BAD}


def answer(exchange: Exchange) -> None:
    kind = exchange.request_line.split(b"/")[1].decode()
    KINDS[kind](exchange, token_of(exchange))


def check(kind: str, method: str, token: bytes, status: int, named: str | None, body: bytes, cut: bool) -> None:
    where = f"{method} {kind} {token!r}: {status} {named!r} {body[:60]!r} cut={cut}"
    whole = (token * (BIG // len(token) + 1))[:BIG] if kind == "big" else b"" if kind == "nothing" else token
    if status == 502:
        # A POST may meet a connection that its server closes just then; it is not sent twice.
        assert KINDS[kind] in BAD or method == "POST", where
        return
    assert named == token.decode(), where
    if KINDS[kind] in GOOD:
        assert (status, body, cut) == (204 if kind == "nothing" else 200, whole, False), where
    else:
        assert (status, cut) == (200, True), where
        assert (token + b"-and").startswith(body), where


def one_request(connection: http.client.HTTPConnection, rng: random.Random, token: bytes) -> None:
    kind = rng.choice(list(KINDS))
    method = rng.choice(["GET", "GET", "POST"])
    body = rng.choice([b"", b"small", b"x" * 100_000]) if method == "POST" else None
    connection.request(method, f"/{kind}/{token.decode()}", body=body)
    if rng.random() < 0.05:
        connection.close()  # without waiting for the answer
        return
    response = connection.getresponse()
    cut = False
    try:
        data = response.read()
    except http.client.IncompleteRead as error:
        data, cut = error.partial, True
    except ConnectionResetError:
        data, cut = b"", True
    check(kind, method, token, response.status, response.headers.get("X-Token"), data, cut)
    if cut:
        connection.close()


def client(port: int, number: int, failures: list[str]) -> None:
    rng = random.Random(number)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for i in range(REQUESTS):
            one_request(connection, rng, f"token-{number}-{i}".encode())
    except Exception as error:
        failures.append(f"client {number}: {type(error).__name__} {error}")
    finally:
        connection.close()


def test_everybody_gets_his_own_answer(stage: Stage) -> None:
    origin = Origin(stage, answer)
    proxy = Skystitch(stage, origin.address)
    failures: list[str] = []
    clients = [threading.Thread(target=client, args=(proxy.port, n, failures)) for n in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert not failures, "\n".join(failures)
    # Who wants one more answer gets it, by a connection that is fit for it.
    response = proxy.get("/plain/last")
    assert (response.status_code, response.content) == (200, b"last")


def test_a_slow_reader_costs_little_memory(stage: Stage) -> None:
    size = 64 * 1024 * 1024
    sent = 0

    def stream(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            exchange.send(b"y" * 65536)
            sent += 65536

    origin = Origin(stage, stream)
    proxy = Skystitch(stage, origin.address)
    before = proxy.memory_kb()
    with proxy.raw(receive_buffer=65536) as slow:
        slow.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = slow.head()
        last = -1
        while sent != last:  # until the origin is held back
            last = sent
            time.sleep(0.3)
        assert sent < size // 2
        proxy.check_growth(before, 1024)
        assert len(response.read()) == size
    proxy.check_growth(before, 1024)
