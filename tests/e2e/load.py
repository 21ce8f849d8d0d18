# SPDX-License-Identifier: Apache-2.0
"""Clients that go on asking while something happens."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections import Counter


class Load:
    """`clients` threads, each on a connection that it keeps (or, with fresh, one a request), until stop()."""

    def __init__(
        self,
        port: int,
        path: str = "/users/7",
        clients: int = 4,
        *,
        fresh: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self.tls = tls
        self.path = path
        self.fresh = fresh
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.refused = 0
        self.slowest_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            if connection is None:
                connection = self._connection()
                try:
                    connection.connect()
                except (ConnectionRefusedError, ConnectionResetError):  # the latter: the listener went just then
                    with self._lock:
                        self.refused += 1
                    return
            if not self._one(connection) or self.fresh:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls)

    def _one(self, connection: http.client.HTTPConnection) -> bool:
        """One request; whether the connection can be used again."""
        try:
            headers = {"Connection": "close"} if self.fresh else {}
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            with self._lock:
                self.statuses[answer.status] += 1
            return not answer.will_close
        except (OSError, http.client.HTTPException) as failure:
            with self._lock:
                self.failures.append(repr(failure))
            return False

    @property
    def done(self) -> int:
        with self._lock:
            return sum(self.statuses.values())

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Waits until every client has ended by itself (the port refuses) or was stopped."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
