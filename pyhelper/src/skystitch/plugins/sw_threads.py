# SPDX-License-Identifier: Apache-2.0
"""concurrent.futures: what is given to a thread pool runs as part of what gave it."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors
from skystitch.patches import Patches, require
from skystitch.scope import Scope, current, find_scope

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from concurrent.futures import ThreadPoolExecutor

    require(ThreadPoolExecutor, "submit")
    _patches.wrap(ThreadPoolExecutor, "submit", _wrap_submit)


def uninstall() -> None:
    _patches.restore()


def _wrap_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(executor: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = find_scope()
        try:
            if scope is not None:
                return original(executor, _run, scope, fn, *args, **kwargs)
            return original(executor, fn, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return submit


def _run(scope: Scope, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A plain function: a wrapper around each fn costs asgiref, which hands a request of Django's
    from thread to thread, more than all the rest."""
    reset = current.set(scope)
    try:
        return fn(*args, **kwargs)
    except BaseException as error:
        errors.forget_own_frame(error)
        raise
    finally:
        current.reset(reset)
