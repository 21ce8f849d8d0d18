# SPDX-License-Identifier: Apache-2.0
"""An exception as a log of a span: what it is, what it says, where it was raised."""

from __future__ import annotations

import os
import traceback

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAX_FRAMES = 100
_MAX_MESSAGE = 2048
_MAX_STACK = 16 * 1024


def describe(error: BaseException) -> list[list[str]]:
    """The log's data, in SkyWalking's keys."""
    return [
        ["event", "error"],
        ["error.kind", class_name(type(error))],
        ["message", _message(error)],
        ["stack", stack(error)],
    ]


def class_name(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def stack(error: BaseException) -> str:
    """The traceback as Python prints it, causes included, without the helper's own frames. Of what
    is too long the end is kept: there the frame that failed and the message are."""
    try:
        report = traceback.TracebackException.from_exception(error, limit=-_MAX_FRAMES)
        _leave_out_own_frames(report, set())
        text = "".join(_shortened(part) for part in report.format())
    except Exception:  # the app's __str__, or a source file that cannot be read
        return class_name(type(error))
    if len(text) > _MAX_STACK:
        end = text[-_MAX_STACK:]
        whole_lines = end.partition("\n")[2]
        text = f"...\n{whole_lines or end}"
    return text


def _shortened(part: str) -> str:
    """A frame, or a message: a huge one must not crowd out the frames."""
    half = _MAX_MESSAGE // 2
    return part if len(part) <= _MAX_MESSAGE else f"{part[:half]}...{part[-half:]}"


def forget_own_frame(error: BaseException) -> None:
    """Takes the caller's frame out of the traceback of an exception on its way through it, so that
    the app and its server see the traceback that they would see without the helper.

    To be followed by a bare `raise`. Python 3.9 and 3.10 restore the frame there: harmless."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MAX_MESSAGE]
    except Exception:  # the app's own __str__
        return ""


def _leave_out_own_frames(report: traceback.TracebackException | None, seen: set[int]) -> None:
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_PACKAGE)]
    _leave_out_own_frames(report.__cause__, seen)
    _leave_out_own_frames(report.__context__, seen)
    for member in getattr(report, "exceptions", None) or ():  # an ExceptionGroup's
        _leave_out_own_frames(member, seen)
