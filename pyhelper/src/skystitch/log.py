# SPDX-License-Identifier: Apache-2.0
"""What the helper tells the app's operator: through logging, and each thing once."""

from __future__ import annotations

import logging

logger = logging.getLogger("skystitch")

_MAX_REMEMBERED = 64
_said: set[str] = set()


def warn_once(key: str, message: str, *args: object) -> None:
    """Logs a warning unless one with this key was logged before in this process."""
    if key in _said or len(_said) >= _MAX_REMEMBERED:
        return
    _said.add(key)
    logger.warning(message, *args)


def internal_error(where: str) -> None:
    """Logs the exception being handled, a defect of ours: the app must not notice it."""
    key = f"internal {where}"
    if key in _said or len(_said) >= _MAX_REMEMBERED:
        return
    _said.add(key)
    logger.warning("skystitch failed in %s; the request is not affected", where, exc_info=True)


def forget() -> None:
    """Lets every warning be said again, for agent.stop()."""
    _said.clear()
