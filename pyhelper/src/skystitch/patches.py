# SPDX-License-Identifier: Apache-2.0
"""Attributes of frameworks that are replaced, and put back as they were."""

from __future__ import annotations

import functools
from typing import Any, Callable


class NotAvailable(Exception):
    """The framework that is installed is not one that the plugin can work with."""


class Patches:
    """The replaced attributes of one plugin."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replaces owner.name by make(owner.name), which keeps name, module and signature."""
        original = getattr(owner, name)
        self.put(owner, name, functools.wraps(original)(make(original)))

    def put(self, owner: Any, name: str, wrapper: Any) -> None:
        """Replaces owner.name by wrapper."""
        self._replaced.append((owner, name, vars(owner).get(name), wrapper))
        setattr(owner, name, wrapper)

    def has(self, owner: Any, name: str) -> bool:
        """Whether owner.name is replaced already."""
        return any(item[0] is owner and item[1] == name for item in self._replaced)

    def restore(self) -> None:
        """Puts the originals back, the last replaced first. What somebody else has wrapped in the
        meantime stays with them."""
        while self._replaced:
            owner, name, own, wrapper = self._replaced.pop()
            if vars(owner).get(name) is not wrapper:
                continue
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

    def __bool__(self) -> bool:
        return bool(self._replaced)


def require(owner: Any, *names: str) -> None:
    """Raises NotAvailable unless owner has all these attributes."""
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        owner_name = getattr(owner, "__qualname__", getattr(owner, "__name__", str(owner)))
        raise NotAvailable(f"{owner_name} has no {', '.join(missing)}")
