# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 server that does wrong what no gRPC library can be made to do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions

GRPC = ("content-type", "application/grpc")


class Peer:
    """One connection: what a test's behaviour may do on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.path: dict[int, str] = {}
        self.is_closed = False

    def answer(self, stream: int, *fields: tuple[str, str], status: str = "200", end: bool = True) -> None:
        self.h2.send_headers(stream, [(":status", status), *fields], end_stream=end)

    def ok(self, stream: int) -> None:
        self.answer(stream, GRPC, end=False)
        self.h2.send_data(stream, b"\0\0\0\0\0")
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def close(self) -> None:
        self.is_closed = True


Behaviour = Callable[[Peer, h2.events.Event], None]


def confirm(peer: Peer, event: h2.events.Event) -> None:
    """What a sound server does."""
    if isinstance(event, h2.events.DataReceived):
        peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    if isinstance(event, h2.events.StreamEnded):
        peer.ok(event.stream_id)


class RawServer:
    """Management calls are confirmed; on `collect` calls the behaviours act, one per call, then confirm."""

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviours = list(behaviours)
        self.tls = tls
        self.acted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.peers: list[Peer] = []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self.serve, args=(peer,))
            self.threads.append(thread)
            thread.start()

    def behaviour_of(self, peer: Peer, chosen: dict[int, Behaviour], event: h2.events.Event) -> Behaviour:
        if isinstance(event, h2.events.RequestReceived):
            path = dict(event.headers)[b":path"]
            acts = path.endswith(b"/collect") and len(self.behaviours) > 0
            chosen[event.stream_id] = self.behaviours.pop(0) if acts else confirm
            self.acted += acts
        return chosen.get(getattr(event, "stream_id", 0) or 0, confirm)

    def serve(self, peer: Peer) -> None:
        chosen: dict[int, Behaviour] = {}
        with peer.sock, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            peer.h2.initiate_connection()
            peer.sock.sendall(peer.h2.data_to_send())
            while not peer.is_closed and (data := peer.sock.recv(65536)):
                for event in peer.h2.receive_data(data):
                    self.behaviour_of(peer, chosen, event)(peer, event)
                peer.sock.sendall(peer.h2.data_to_send())
