# SPDX-License-Identifier: Apache-2.0
"""Each plugin puts back what it has replaced: looked at from outside, in every class and module of
the framework, in an interpreter of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from skystitch.plugins import PLUGINS

RESTORED = """
import importlib, logging, sys, types

def snapshot():
    # Names of attributes -> what is there, in whatever the imported packages define.
    seen = {}
    roots = {name.partition(".")[0] for name in modules}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in roots or not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            seen[f"{name}.{key}"] = value
            # Not isinstance(): no lazy object is to be woken.
            if issubclass(type(value), type) and value.__module__ == name:
                for inner, attribute in list(vars(value).items()):
                    seen[f"{name}.{key}.{inner}"] = attribute
    return seen

def differences(before, after):
    # Caches that a framework fills by itself are no replacements: only callables count.
    return sorted(
        name for name in before.keys() | after.keys()
        if before.get(name) is not after.get(name)
        and (callable(before.get(name)) or callable(after.get(name)))
    )

modules = sys.argv[2:]
for module in modules:
    importlib.import_module(module)
from skystitch import agent, plugins
plugins.PLUGINS = agent.PLUGINS = {sys.argv[1]: plugins.PLUGINS[sys.argv[1]]}
agent.start()  # what the plugin itself imports is there from now on
agent.stop()
before = snapshot()
for _ in range(2):
    agent.start()
    during = differences(before, snapshot())
    agent.stop()
    left = differences(before, snapshot())
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


# Their libraries tell them what happens.
REPLACE_NOTHING = {"sw_celery", "sw_pymongo"}


def modules_of(plugin: str) -> tuple[str, ...]:
    modules = PLUGINS[plugin]
    return (modules,) if isinstance(modules, str) else modules


def run(program: str, plugin: str) -> str:
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
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("plugin", sorted(PLUGINS.keys() - REPLACE_NOTHING))
def test_everything_is_as_it_was(plugin: str) -> None:
    assert run(RESTORED, plugin), "nothing was replaced"


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_installed_while_the_framework_is_imported(plugin: str) -> None:
    """Within the import of a package, what it is made of is not all there."""
    assert run(STARTED_FIRST, plugin) == "True"
