# SPDX-License-Identifier: Apache-2.0
"""Starts the agent at the interpreter's start, then runs the sitecustomize that this one hides."""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _start_agent() -> None:
    if importlib.util.find_spec("skystitch") is None:
        # The command's interpreter has its own packages: ours alone is lent to it, from its place.
        package = os.path.dirname(_HERE)
        spec = importlib.util.spec_from_file_location(
            "skystitch",
            os.path.join(package, "__init__.py"),
            submodule_search_locations=[package],
        )
        if spec is None or spec.loader is None:
            raise ImportError(package)
        module = importlib.util.module_from_spec(spec)
        sys.modules["skystitch"] = module
        spec.loader.exec_module(module)
    from skystitch import agent

    agent.start()


def _run_hidden() -> None:
    others = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:
    _start_agent()
except Exception as _error:
    print(f"skystitch: the agent did not start: {_error!r}", file=sys.stderr)

_run_hidden()
