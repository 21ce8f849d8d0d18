# SPDX-License-Identifier: Apache-2.0
"""Whether the SkyWalking Python agent, which does the same in its own way, is at work here."""

from __future__ import annotations

import sys

# Its classes keep the flag under a private name; there is no public one (1.0 to 1.3).
_FLAGS = ("_SkyWalkingAgent__started", "_SkyWalkingAgentAsync__started")


def is_active() -> bool:
    """Whether it was started in this process. Does not import it."""
    module = sys.modules.get("skywalking.agent")
    instance = getattr(module, "agent", None)
    return any(getattr(instance, flag, False) is True for flag in _FLAGS)
