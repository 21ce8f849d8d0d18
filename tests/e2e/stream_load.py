# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/2 that does what RFC 9113, 6.8 says of GOAWAY, and holds the proxy to it."""

from __future__ import annotations

import ssl
import threading

from harness import FrameClient
from harness.http2 import get

ANY_STREAM = 2**31 - 1


class StreamLoad:
    """Keeps `streams` requests under way on each connection until stop().

    The first GOAWAY says that there will be an end: nothing is begun after it, or, with `stubborn`,
    as much as before. What the last one lets in must be answered whole, what it leaves out may be
    asked again; the connection must not end otherwise.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        streams: int = 8,
        connections: int = 2,
        stubborn: bool = False,
    ) -> None:
        self.port, self.tls, self.streams, self.stubborn = port, tls, streams, stubborn
        self.done = self.left_out = self.connections = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with FrameClient(self.port, tls=self.tls) as client:
                    self._serve(client)
            except (OSError, AssertionError) as failure:
                with self._lock:
                    self.failures.append(repr(failure))

    def _serve(self, client: FrameClient) -> None:
        newest, pending = -1, set[int]()
        with self._lock:
            self.connections += 1
        while True:
            last = client.goaways[-1].last_stream_id if client.goaways else ANY_STREAM
            if not self._stop.is_set() and (not client.goaways or (self.stubborn and last == ANY_STREAM)):
                begun = [newest + 2 * i for i in range(1, self.streams - len(pending) + 1)]
                client.send(b"".join(client.head(stream, get("/")) for stream in begun))
                pending.update(begun)
                newest = max([newest, *begun])
            ended = {stream for stream in pending if stream in client.answers and client.answers[stream].done}
            left_out = {stream for stream in pending - ended if stream > last}
            pending -= ended | left_out
            self._count(client, ended, left_out)
            over = client.goaways and (last != ANY_STREAM or not self.stubborn)
            if not pending and (over or self._stop.is_set()):
                return
            assert client.read(), f"closed with {len(pending)} streams under way: {client.frames[-5:]}"

    def _count(self, client: FrameClient, ended: set[int], left_out: set[int]) -> None:
        answers = [client.answers.pop(stream) for stream in ended]
        client.frames.clear()
        with self._lock:
            self.done += len(answers)
            self.left_out += len(left_out)
            self.failures += [repr(answer) for answer in answers if answer.reset is not None or answer.status != 200]

    def stop(self) -> int:
        """The number of answers; an AssertionError tells of one that is missing."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self.failures == []
        return self.done

    def kill(self) -> None:
        self._stop.set()
