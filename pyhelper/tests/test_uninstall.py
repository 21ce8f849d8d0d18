# SPDX-License-Identifier: Apache-2.0
"""Each plugin puts back what it has replaced: looked at from outside, in every class and module of
the framework, in an interpreter of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from skystitch.plugins import PLUGINS

RESTORED = """
import importlib, logging, os, sys, types, weakref
import skystitch

OURS = os.path.dirname(skystitch.__file__)

def is_a(value, *kinds):
    return issubclass(type(value), kinds)  # not isinstance(): no lazy object is to be woken

def is_ours(value, depth=4):
    # Whether the value is the helper's, or holds what is: a property, the receivers of a signal.
    if is_a(value, weakref.ref):
        value = value()
    if is_a(value, types.MethodType, classmethod, staticmethod):
        value = value.__func__
    if is_a(value, types.FunctionType):
        return value.__code__.co_filename.startswith(OURS)
    if is_a(value, property):
        return is_ours(value.fget)
    home = type(value).__module__
    if depth == 0 or is_a(value, type, types.ModuleType) or not is_a(home, str):
        return False
    home = home.partition(".")[0]
    if home == "skystitch":
        return True
    if is_a(value, dict):
        held = [*value.values()]
    elif is_a(value, list, tuple, set, frozenset):
        held = [*value]
    elif home in roots:
        try:
            held = [*object.__getattribute__(value, "__dict__").values()]
        except AttributeError:
            return False
    else:
        return False
    return any(is_ours(one, depth - 1) for one in held)

def reachable(seen):
    return sorted(name for name, value in seen.items() if is_ours(value))

def snapshot():
    # Names of attributes -> what is there, in whatever the imported packages define.
    seen = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in roots or not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            seen[f"{name}.{key}"] = value
            if is_a(value, type) and value.__module__ == name:
                for inner, attribute in list(vars(value).items()):
                    seen[f"{name}.{key}.{inner}"] = attribute
    return seen

def differences(before, after):
    # Caches that a framework fills by itself are no replacements: only callables count. What a
    # package has loaded meanwhile is none either, unless it is reachable().
    return sorted(
        name for name in before
        if before[name] is not after.get(name)
        and (callable(before[name]) or callable(after.get(name)))
    )

modules = sys.argv[2:]
roots = {name.partition(".")[0] for name in modules}
for module in modules:
    importlib.import_module(module)
from skystitch import agent, plugins
plugins.PLUGINS = agent.PLUGINS = {sys.argv[1]: plugins.PLUGINS[sys.argv[1]]}
agent.start()  # what the plugin itself imports is there from now on
agent.stop()
before = snapshot()
if os.environ.get("FORGETFUL"):
    sys.modules[f"skystitch.plugins.{sys.argv[1]}"].uninstall = lambda: None
for _ in range(2):
    agent.start()
    now = snapshot()
    during = differences(before, now) + reachable(now)
    agent.stop()
    now = snapshot()
    left = differences(before, now) + reachable(now)
    assert during, "the plugin has replaced nothing"
    assert not left, left
print(*during)
"""


STARTED_FIRST = """
import importlib, logging, sys
from skystitch import agent, plugins
logging.basicConfig(level=logging.WARNING)
agent.start()
for module in sys.argv[2:]:
    importlib.import_module(module)
print(sys.argv[1] in agent._installed)
"""


def modules_of(plugin: str) -> tuple[str, ...]:
    modules = PLUGINS[plugin]
    return (modules,) if isinstance(modules, str) else modules


def run(program: str, plugin: str, *, fails: bool = False) -> str:
    modules = modules_of(plugin)
    missing = [name for name in modules if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, plugin, *modules],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "FORGETFUL": "1" if fails else ""},
    )
    if fails:
        assert done.returncode == 1
        return done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_everything_is_as_it_was(plugin: str) -> None:
    assert run(RESTORED, plugin), "nothing was replaced"


@pytest.mark.parametrize(
    "plugin", ["sw_celery", "sw_django", "sw_flask", "sw_pymongo", "sw_sanic", "sw_sqlite3"]
)
def test_a_plugin_that_forgets_is_seen(plugin: str) -> None:
    """Of those that replace attributes, and of those that libraries tell what happens."""
    assert "AssertionError: ['" in run(RESTORED, plugin, fails=True)


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_installed_while_the_framework_is_imported(plugin: str) -> None:
    """Within the import of a package, what it is made of is not all there."""
    assert run(STARTED_FIRST, plugin) == "True"
