# SPDX-License-Identifier: Apache-2.0
"""Puts the .pth file beside the packages: site executes it at each start of the interpreter."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NAME = "skystitch_autostart.pth"


class BuildWithPth(build_py):
    """setuptools has no way to say that a file goes to the root of site-packages."""

    def run(self) -> None:
        super().run()
        shutil.copy(Path(__file__).with_name(NAME), self.build_lib)


setup(cmdclass={"build_py": BuildWithPth}, py_modules=["skystitch_autostart"])
