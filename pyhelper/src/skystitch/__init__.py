# SPDX-License-Identifier: Apache-2.0
"""Hands an app's part of a trace to the skystitch proxy in front of it.

    from skystitch import agent
    agent.start()

The rest is for apps that want to say more of themselves, see api: it is loaded when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from skystitch._version import __version__

if TYPE_CHECKING:
    from skystitch import logs as logs
    from skystitch import testing as testing
    from skystitch.api import (
        add_error,
        add_log,
        current_trace_id,
        get_correlation,
        ignore,
        runnable,
        set_correlation,
        set_tag,
        span,
        trace,
    )

__all__ = [
    "__version__",
    "add_error",
    "add_log",
    "current_trace_id",
    "get_correlation",
    "ignore",
    "runnable",
    "set_correlation",
    "set_tag",
    "span",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in ("logs", "testing"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skystitch import api

    return getattr(api, name)
