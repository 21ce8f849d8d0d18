# SPDX-License-Identifier: Apache-2.0
"""The body of an answer that the app makes while it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Callable

from skystitch import errors
from skystitch.context import Recording
from skystitch.scope import current


class Stream:
    """Runs the body in the request's context and tells the recording how it ended."""

    __slots__ = ("_body", "_next", "_recording")

    def __init__(self, body: Iterable[bytes], recording: Recording) -> None:
        self._body = body
        self._recording = recording

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._next = self._run(iter, self._body).__next__
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        return self

    def __next__(self) -> bytes:
        reset = current.set(self._recording)
        try:
            chunk: bytes = self._next()
            return chunk
        except StopIteration:
            self._recording.end_stream(None)
            raise
        except BaseException as error:
            self._recording.end_stream(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)

    def close(self) -> None:
        """As the server calls it: whether the body is exhausted or the client has gone."""
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                self._run(close)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        finally:
            self._recording.end_stream(None)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        reset = current.set(self._recording)
        try:
            return function(*args)
        except BaseException as error:
            self._recording.end_stream(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)
