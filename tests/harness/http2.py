# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client that sends exactly the frames it is told to, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384
Fields = Sequence[tuple[str, str]]


def get(path: str = "/", *more: tuple[str, str], method: str = "GET", authority: str = "shop.test") -> list:
    return [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *more]


@dataclass
class Answer:
    """What has come of one stream."""

    heads: list[dict[str, str]] = field(default_factory=list)  # interim ones, then the final one
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.heads[-1][":status"])

    @property
    def done(self) -> bool:
        return self.ended or self.reset is not None


class FrameClient:
    """Reads only when it is asked to, and answers nothing by itself but SETTINGS."""

    def __init__(
        self,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        settings: dict[int, int] | None = None,
        window: int = 1 << 24,
        timeout: float = 20.0,
        preface: bytes = PREFACE,
    ) -> None:
        """On a connection to that port, or on `sock`."""
        self.sock: socket.socket = sock or socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            wrapped = tls.wrap_socket(self.sock, server_hostname="localhost")
            assert wrapped.selected_alpn_protocol() == "h2"
            self.sock = wrapped
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 24
        self.answers: dict[int, Answer] = {}
        self.frames: list[Frame] = []
        self.goaways: list[GoAwayFrame] = []
        self.closed = False
        self._input = b""
        self._blocks: dict[int, tuple[bytes, bool]] = {}
        first = SettingsFrame(0, settings=settings or {SettingsFrame.INITIAL_WINDOW_SIZE: window})
        more = WindowUpdateFrame(0, window_increment=window) if window > 65535 else None
        self.send(preface, first, *([more] if more else []))

    def __enter__(self) -> FrameClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # Out.

    def send(self, *parts: bytes | Frame) -> None:
        self.sock.sendall(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def head(self, stream: int, fields: Iterable[tuple[str, str]], *, end: bool = True) -> bytes:
        """HEADERS and as many CONTINUATION as the block needs."""
        return self.block(stream, self.encoder.encode([hpack.HeaderTuple(*pair) for pair in fields]), end=end)

    @staticmethod
    def block(stream: int, block: bytes, *, end: bool = True) -> bytes:
        parts = [block[i : i + MAX_FRAME] for i in range(0, len(block), MAX_FRAME)] or [b""]
        flags = (["END_STREAM"] if end else []) + (["END_HEADERS"] if len(parts) == 1 else [])
        frames: list[Frame] = [HeadersFrame(stream, parts[0], flags=flags)]
        frames += [ContinuationFrame(stream, part) for part in parts[1:]]
        if len(parts) > 1:
            frames[-1].flags.add("END_HEADERS")
        return b"".join(frame.serialize() for frame in frames)

    @staticmethod
    def data(stream: int, data: bytes, *, end: bool = False) -> bytes:
        return DataFrame(stream, data, flags=["END_STREAM"] if end else []).serialize()

    @staticmethod
    def reset(stream: int, error: int = 8) -> bytes:
        return RstStreamFrame(stream, error_code=error).serialize()

    def request(self, stream: int, fields: Iterable[tuple[str, str]], body: bytes = b"") -> Answer:
        """Sends a request and waits for the end of its answer."""
        self.send(self.head(stream, fields, end=not body), *([self.data(stream, body, end=True)] if body else []))
        return self.answer(stream)

    # In.

    def answer(self, stream: int) -> Answer:
        self.until(lambda: stream in self.answers and self.answers[stream].done, f"the answer of stream {stream}")
        return self.answers[stream]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            assert self.read(), f"closed before {what}: {self.frames[-5:]}"

    def until_closed(self) -> None:
        while self.read():
            pass

    def read(self) -> bool:
        """One more frame; False at the end."""
        while True:
            frame = self._next()
            if frame is not None:
                self._take(frame)
                return True
            try:
                more = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                more = b""
            if not more:
                self.closed = True
                return False
            self._input += more

    def _next(self) -> Frame | None:
        if len(self._input) < 9:
            return None
        frame, length = Frame.parse_frame_header(memoryview(self._input[:9]))
        if len(self._input) < 9 + length:
            return None
        frame.parse_body(memoryview(self._input[9 : 9 + length]))
        self._input = self._input[9 + length :]
        return frame

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            with contextlib.suppress(OSError):
                self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif frame.stream_id != 0:
            self._take_stream(frame, self.answers.setdefault(frame.stream_id, Answer()))

    def _take_stream(self, frame: Frame, answer: Answer) -> None:
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            before, end = self._blocks.pop(frame.stream_id, (b"", "END_STREAM" in frame.flags))
            if "END_HEADERS" not in frame.flags:
                self._blocks[frame.stream_id] = before + frame.data, end
                return
            fields = self.decoder.decode(before + frame.data)
            assert not [name for name, _ in fields if name.startswith("sw8-stitch")], fields
            answer.heads.append(dict(fields))
            answer.ended = end
        elif isinstance(frame, DataFrame):
            answer.body += frame.data
            answer.ended = "END_STREAM" in frame.flags
        elif isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code

    def ping(self) -> None:
        """Returns once all that was sent before has been read by the proxy."""
        self.send(PingFrame(0, b"12345678"))
        seen = len(self.frames)
        self.until(lambda: any(isinstance(frame, PingFrame) for frame in self.frames[seen:]), "PING")
