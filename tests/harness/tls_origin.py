# SPDX-License-Identifier: Apache-2.0
"""An upstream that speaks TLS and answers every request alike."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from harness.pki import Pair
from harness.process import Stage

Script = Callable[[ssl.SSLSocket, bytes], None]


def answer_ok(sock: ssl.SSLSocket, request: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class TlsOrigin:
    """Serves each connection in a thread; `script` gets the head of each request with its body."""

    def __init__(
        self,
        stage: Stage,
        pair: Pair,
        script: Script = answer_ok,
        *,
        name: str = "tls-origin",
        version: ssl.TLSVersion | None = None,
        client_ca: Pair | None = None,
    ) -> None:
        self.name = name
        self.script = script
        self.connections = self.resumed = 0
        self.names: list[str | None] = []
        self.peers: list[object] = []
        self._errors: list[str] = []
        self._open: list[socket.socket] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.sni_callback = lambda sock, name, context: self.names.append(name)
        if version is not None:
            self._context.minimum_version = self._context.maximum_version = version
        if client_ca is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_ca.certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=name, daemon=True).start()
        stage.add(self)

    def address(self, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as sock:
                self.connections += 1
                self.resumed += bool(sock.session_reused)
                self.peers.append(sock.getpeercert())
                data = bytearray()
                while True:
                    while b"\r\n\r\n" not in data:
                        more = sock.recv(65536)
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    length = 0
                    for line in head.split(b"\r\n"):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    while len(data) < length:
                        data += sock.recv(1 << 20)
                    request, data = bytes(head + b"\r\n\r\n" + data[:length]), data[length:]
                    self.script(sock, request)
        except OSError as error:
            self._errors.append(str(error))

    def log(self) -> str:
        return "\n".join([f"{self.connections} connections, {self.resumed} resumed", *self._errors])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            sock.close()
