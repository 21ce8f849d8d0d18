# SPDX-License-Identifier: Apache-2.0
"""A client that sends exactly the bytes it is told to."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import struct
from typing import Any


class _Borrowed(io.BufferedReader):
    """HTTPResponse closes the file it is given; the next pipelined answer is still in this one."""

    def close(self) -> None:
        pass


class RawClient:
    def __init__(
        self,
        host: str,
        port: int,
        timeout: float = 10.0,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        if tls is not None:
            # An end without close_notify is to be seen.
            self.sock = tls.wrap_socket(
                self.sock, server_hostname=server_name, session=session, suppress_ragged_eofs=False
            )
        self._file = _Borrowed(socket.SocketIO(self.sock, "r"))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return self._file

    def response(self, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        """The next answer with its whole body; IncompleteRead when it is cut."""
        answer = self.head(method)
        return answer, answer.read()

    def head(self, method: str = "GET") -> http.client.HTTPResponse:
        """The head of the next answer; its body is still to be read."""
        answer = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]
        answer.begin()
        names = [name.lower() for name in answer.headers]
        assert not any(name.startswith("sw8-stitch") for name in names), names
        return answer

    def rest(self) -> bytes:
        """All bytes until the peer closes."""
        return self._file.read()

    def closed(self) -> bool:
        """Whether the peer closes (or resets) without a further byte; waits for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        super(_Borrowed, self._file).close()
        self.sock.close()
