# SPDX-License-Identifier: Apache-2.0
"""An upstream whose answers are written byte by byte by the test."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from harness.process import Stage

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Exchange:
    """One request that reached the origin, and the means to answer it."""

    def __init__(self, sock: socket.socket, number: int, head: bytes, body: bytes) -> None:
        self._sock = sock
        self.connection = number
        self.head = head
        self.body = body
        self.open = True

    @property
    def request_line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case with their values, in order."""
        lines = self.head.split(b"\r\n")[1:]
        pairs = [line.partition(b":") for line in lines if line]
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name.lower()]

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self) -> bytes:
        """What has come behind the request; empty at the end."""
        return self._sock.recv(65536)

    def peer_closed(self, timeout: float = 10.0) -> bool:
        """Whether the proxy closes the connection; waits for it."""
        self._sock.settimeout(timeout)
        try:
            return self._sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.open = False
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Origin:
    """Serves each connection in a thread; calls `script` once a request has been read whole.

    Without `bodies` that is with its head: `body` is what came in the same read, `receive` the rest.
    """

    def __init__(
        self,
        stage: Stage,
        script: Callable[[Exchange], None] | bytes = OK,
        *,
        name: str = "origin",
        tcp: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        bodies: bool = True,
    ) -> None:
        self.name = name
        self.script = script
        self.bodies = bodies
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._errors: list[str] = []
        if tcp:
            self._listener = socket.create_server((host, port))
            self.address = f"{host}:{self._listener.getsockname()[1]}"
        else:
            path = stage.path(f"{name}.sock")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen(64)
            self.address = f"unix:{path}"
        threading.Thread(target=self._accept, name=name, daemon=True).start()
        stage.add(self)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = sock.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                exchange = Exchange(sock, number, head, b"")
                if self.bodies:
                    exchange.body, data = self._body(sock, exchange, data)
                else:
                    exchange.body, data = data, b""
                self.exchanges.append(exchange)
                if isinstance(self.script, bytes):
                    exchange.send(self.script)
                else:
                    self.script(exchange)
                if not exchange.open:
                    return
        except OSError as error:
            self._errors.append(f"connection {number}: {error}")
        finally:
            sock.close()

    @staticmethod
    def _body(sock: socket.socket, exchange: Exchange, data: bytes) -> tuple[bytes, bytes]:
        if exchange.values(b"transfer-encoding"):
            while b"0\r\n\r\n" not in data:
                data += sock.recv(65536)
            body, _, rest = data.partition(b"0\r\n\r\n")
            return body, rest
        length = int((exchange.values(b"content-length") or [b"0"])[0])
        while len(data) < length:
            more = sock.recv(65536)
            if not more:
                raise ConnectionError(f"request body ended after {len(data)} of {length} bytes")
            data += more
        return data[:length], data[length:]

    def log(self) -> str:
        requests = [f"[{e.connection}] {e.head.decode('latin-1')}" for e in self.exchanges[-10:]]
        return "\n".join([f"{self.connections} connections", *requests, *self._errors])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            sock.close()
