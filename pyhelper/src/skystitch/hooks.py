# SPDX-License-Identifier: Apache-2.0
"""Calls back when a module is imported by the app, or at once if it has been."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable

from skystitch import log

Callback = Callable[[], None]


class ImportHook(MetaPathFinder):
    """First in sys.meta_path while it waits for modules. It finds none itself: it asks the other
    finders and listens for the end of the module's execution. Once a module has been imported
    nothing of ours is left on its spec and loader."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callback] = {}

    def when_imported(self, module: str, callback: Callback) -> None:
        loaded = sys.modules.get(module)
        if loaded is not None and not _is_initialising(loaded):
            _call(module, callback)
            return
        self._waiting[module] = callback
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        self._waiting.clear()
        self._leave()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._waiting:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                self._listen(fullname, spec.loader)
                return spec
        return None

    def _listen(self, fullname: str, loader: Any) -> None:
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            callback = self._waiting.pop(fullname, None)
            if not self._waiting:
                self._leave()
            if callback is not None:
                _call(fullname, callback)

        try:
            loader.exec_module = exec_module
        except AttributeError:  # a loader with fixed attributes, none of the standard ones
            log.warn_once(
                f"loader {fullname}", "skystitch cannot follow the import of %s", fullname
            )

    def _leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def _is_initialising(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _call(module: str, callback: Callback) -> None:
    try:
        callback()
    except Exception:
        log.internal_error(f"the hook of {module}")
