# SPDX-License-Identifier: Apache-2.0
"""python -m skystitch doctor: what is here, what would be instrumented, whether a proxy is near.

Imports no framework and patches nothing, so it can be run beside an app in production."""

from __future__ import annotations

import functools
import http.client
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata, util

from skystitch import __version__
from skystitch.config import Config
from skystitch.plugins import PLUGINS

_ADMIN = "127.0.0.1:9411"
_CHANNEL = "@skystitch-"
_TIMEOUT_S = 2.0
#: As the plugins themselves check it.
_SINCE = {"sw_django": "3.2", "sw_flask": "2.0"}
_PREFIXES = ("SKYSTITCH_", "SW_")
_SECRETS = ("TOKEN", "AUTHENTICATION", "PASSWORD")


def report(admin: str = _ADMIN) -> int:
    """Prints what it finds. admin: host:port of the proxy's admin listener. Returns the exit
    status: 0 when a proxy answers, else 1."""
    print(f"skystitch {__version__}, Python {platform.python_version()}, {sys.platform}")
    config = Config()
    print("\nplugins")
    for line in _plugins(config):
        print(f"  {line}")
    print("\nenvironment")
    for line in _environment():
        print(f"  {line}")
    if util.find_spec("skywalking") is not None:
        print("\nThe SkyWalking agent is installed too: where it is started, skystitch stays off.")
    print("\nproxy")
    lines, found = _proxy(admin, config)
    for line in lines:
        print(f"  {line}")
    return 0 if found else 1


def _plugins(config: Config) -> Iterator[str]:
    for name, modules in sorted(PLUGINS.items()):
        module = modules if isinstance(modules, str) else modules[0]
        package = module.partition(".")[0]
        if config.disables(name):
            what = "off: SW_AGENT_DISABLE_PLUGINS"
        elif not _is_installed(package):
            what = "nothing to do: not installed"
        elif _is_too_old(name, package):
            what = f"off: {_version(package)} is older than {_SINCE[name]}"
        else:
            what = f"on, with {_version(package)}"
        yield f"{name:20} {what}"


def _is_installed(package: str) -> bool:
    try:
        return util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _is_too_old(plugin: str, package: str) -> bool:
    if plugin not in _SINCE:
        return False
    with suppress(metadata.PackageNotFoundError, ValueError):
        version = tuple(map(int, metadata.version(package).split(".")[:2]))
        return version < tuple(map(int, _SINCE[plugin].split(".")))
    return False


def _version(package: str) -> str:
    """The distribution that has the package, with its version."""
    if package in getattr(sys, "stdlib_module_names", ("http", "urllib", "sqlite3", "logging")):
        return "the standard library's"
    for name in _distributions().get(package, [package]):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return f"{package}, version unknown"


@functools.cache
def _distributions() -> dict[str, list[str]]:
    find = getattr(metadata, "packages_distributions", None)  # since Python 3.10
    return dict(find()) if find is not None else {}


def _environment() -> Iterator[str]:
    found = sorted(name for name in os.environ if name.startswith(_PREFIXES))
    for name in found:
        secret = any(word in name for word in _SECRETS)
        yield f"{name}={'(set)' if secret else os.environ[name]}"
    if not found:
        yield "no SKYSTITCH_ or SW_ variable is set: defaults"
    if os.environ.get("SKYSTITCH_AUTOSTART") and not _is_installed("skystitch_autostart"):
        yield "SKYSTITCH_AUTOSTART does nothing: pip install skystitch[autostart]"


def _proxy(admin: str, config: Config) -> tuple[list[str], bool]:
    channels = sorted(_channels(config.channel_directory))
    answer = _ask(admin)
    lines = [f"admin listener {admin}: {answer or 'no answer'}"]
    if channels:
        lines += [f"channel {name}" for name in channels]
    elif config.channel_directory:
        lines.append(f"no channel in {config.channel_directory}")
    else:
        lines.append("no channel of a proxy in this network namespace")
    if not channels and config.token:
        lines.append("SKYSTITCH_TOKEN is set: details travel in the answer's header")
    if not channels and not answer:
        lines.append("Is it running? In another container it needs stitch.channel: DIRECTORY;")
        lines.append("with another admin address say: python -m skystitch doctor HOST:PORT")
    return lines, bool(channels or answer)


def _channels(directory: str) -> set[str]:
    """The channels that proxies listen at: abstract sockets, or files in the directory."""
    found: set[str] = set()
    if directory:
        with suppress(OSError):
            found.update(name for name in os.listdir(directory) if name.startswith(_CHANNEL[1:]))
        return found
    with suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        names = (line.split()[-1] for line in sockets)
        found.update(name for name in names if name.startswith(_CHANNEL))
    return found


def _ask(admin: str) -> str:
    """What /readyz says; empty when nobody answers."""
    host, _, port = admin.rpartition(":")
    try:
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return f"{response.status} {response.read(200).decode('utf-8', 'replace').strip()}"
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
