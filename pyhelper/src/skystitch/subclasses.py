# SPDX-License-Identifier: Apache-2.0
"""For drivers in C, whose types cannot be changed: connections and cursors of a class below theirs.

Such a class has the name of the one above it and adds spans to some methods, nothing else.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable

Make = Callable[[type], dict[str, Any]]


class Subclasses:
    """The classes made for one purpose, each once."""

    def __init__(self, make: Make) -> None:
        """make: from a class to the attributes of the one below it."""
        self._make = make
        self._made: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()
        self._ours: weakref.WeakSet[type] = weakref.WeakSet()

    def of(self, above: Any) -> Any:
        """The class below this one; what is no class (a factory function) as it is."""
        if not isinstance(above, type) or above in self._ours:
            return above
        made = self._made.get(above)
        if made is None:
            names = {
                "__module__": above.__module__,
                "__qualname__": above.__qualname__,
                "__doc__": above.__doc__,
            }
            made = type(above)(above.__name__, (above,), {**names, **self._make(above)})
            self._ours.add(made)
            self._made[above] = made
        return made
