# SPDX-License-Identifier: Apache-2.0
"""python -m skystitch run -- COMMAND: runs a Python program with the agent started in it.
python -m skystitch doctor: says what is instrumented, and whether a proxy is near."""

from __future__ import annotations

import os
import sys

from skystitch import __version__

_USAGE = """\
usage: python -m skystitch run [--] COMMAND [ARGUMENT]...
       python -m skystitch doctor [HOST:PORT of the proxy's admin listener]
       python -m skystitch --version"""
_CANNOT_RUN = 126
_NOT_FOUND = 127
_BAD_USAGE = 2
_DOCTOR_ARGUMENTS = 2


def main(arguments: list[str]) -> int:
    """Returns the exit status; on success of `run` it does not return."""
    if arguments == ["--version"]:
        print(f"skystitch {__version__}")
        return 0
    if arguments in (["--help"], ["-h"]):
        print(_USAGE)
        return 0
    if arguments[:1] == ["doctor"] and len(arguments) <= _DOCTOR_ARGUMENTS:
        from skystitch import doctor

        return doctor.report(*arguments[1:])
    command = arguments[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if arguments[:1] != ["run"] or not command:
        print(_USAGE, file=sys.stderr)
        return _BAD_USAGE
    return run(command)


def run(command: list[str]) -> int:
    """Replaces this process by the command, with our sitecustomize first in its PYTHONPATH."""
    bootstrap = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap")
    path = [bootstrap, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        print(f"skystitch: {command[0]}: not found", file=sys.stderr)
        return _NOT_FOUND
    except OSError as error:
        print(f"skystitch: {command[0]}: {error.strerror}", file=sys.stderr)
        return _CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
