# SPDX-License-Identifier: Apache-2.0
"""Imported at the interpreter's start by skystitch_autostart.pth where SKYSTITCH_AUTOSTART=1 is
set. Whatever goes wrong, the interpreter starts."""

from __future__ import annotations

import sys

try:
    from skystitch import agent

    agent.start()
except Exception as _error:
    print(f"skystitch: the agent did not start: {_error!r}", file=sys.stderr)
