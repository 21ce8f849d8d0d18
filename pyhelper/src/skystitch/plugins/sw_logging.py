# SPDX-License-Identifier: Apache-2.0
"""`logging` of the standard library: `%(tid)s` for every formatter, and the records for SkyWalking.

What is replaced: Logger.callHandlers, which gets the records that the app's level and filters let
through. SW_AGENT_LOG_REPORTER_IGNORE_FILTER takes those too that its filters do not:
Logger.handle is replaced then.
"""

from __future__ import annotations

import logging
from typing import Any, Callable

from skystitch import errors, logs
from skystitch.patches import Patches

_patches = Patches()


def install() -> None:
    if _patches or not (logs.reports() or logs.has_tid()):
        return
    name = "handle" if logs.ignores_filters() else "callHandlers"
    _patches.wrap(logging.Logger, name, _wrap)


def uninstall() -> None:
    _patches.restore()


def _wrap(original: Callable[..., Any]) -> Callable[..., Any]:
    has_tid, reports = logs.has_tid(), logs.reports()

    def on_record(logger: logging.Logger, record: logging.LogRecord) -> None:
        if has_tid and not hasattr(record, "tid"):
            record.tid = logs.tid()
        try:
            original(logger, record)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        if reports and not logger.disabled:
            logs.report(record)

    return on_record
